// Characters as tokens, and what all tokenizers have in common: text to ids and back, with the ids
// of keras_attention.text.

export const END = 2;
export const UNKNOWN = 3; // ids 0 and 1 are [PAD] and [START]
export const SPACE = "▁"; // SentencePiece's letter for a space

/** Base class; a subclass has `split`, from normalized text to tokens, and `join`. */
export class Tokenizer {
  /**
   * @param {string[]} vocabulary The tokens in the order of their ids.
   * @param {{lowercase?: boolean, normalization?: ?string}} config From `tokenizer.json`.
   */
  constructor(vocabulary, { lowercase = false, normalization = null }) {
    this.vocabulary = vocabulary;
    this.lowercase = lowercase;
    this.normalization = normalization;
    // Text never becomes a special token.
    const entries = vocabulary.map((token, id) => [token, id]);
    this.ids = new Map(entries.slice(UNKNOWN + 1));
  }

  /** Returns the text as the tokenizer reads it: plain spaces, one normal form, lower case. */
  normalize(text) {
    text = text.toWellFormed().replace(/[\0\t\n\f\r]/g, " ");
    if (this.normalization) text = text.normalize(this.normalization);
    return this.lowercase ? text.toLowerCase() : text;
  }

  /** Returns the ids of a text, without special tokens. */
  tokenize(text) {
    return this.split(this.normalize(text)).map((token) => this.ids.get(token) ?? UNKNOWN);
  }

  /** Returns the parts of a text that become `[UNK]`, each once. */
  unknownTokens(text) {
    const tokens = this.split(this.normalize(text));
    return [...new Set(tokens.filter((token) => !this.ids.has(token)))];
  }

  /** Returns the ids of a text, at most `maxLength` with `[END]`, which is the last one. */
  encode(text, maxLength = Infinity) {
    return [...this.tokenize(text).slice(0, maxLength - 1), END];
  }

  /** Returns the text of ids up to the first `[END]`, without padding. */
  decode(ids) {
    const end = ids.indexOf(END);
    const output = end < 0 ? ids : ids.slice(0, end);
    return this.join(this.tokens(output.filter((id) => id >= UNKNOWN)));
  }

  /** Returns the token of each id. */
  tokens(ids) {
    return ids.map((id) => this.vocabulary[id]);
  }
}

/** `keras_attention.text.CharacterTokenizer`: a run of unknown characters is one token. */
export class CharacterTokenizer extends Tokenizer {
  split(text) {
    const tokens = [];
    for (const character of text.replaceAll(" ", SPACE)) {
      const isUnknown = !this.ids.has(character);
      if (isUnknown && tokens.length && !this.ids.has(tokens.at(-1))) {
        tokens[tokens.length - 1] += character;
      } else {
        tokens.push(character);
      }
    }
    return tokens;
  }

  join(tokens) {
    return tokens.join("").replaceAll(SPACE, " ");
  }
}
