// Tokenizers of an export in JavaScript: text to ids and back, with the ids of
// keras_attention.text.

import { fetchFile } from "./files.js";

export const END = 2;
const UNKNOWN = 3; // ids 0 and 1 are [PAD] and [START]
const SPACE = "▁"; // SentencePiece's letter for a space

/**
 * Loads a tokenizer from its folder in an export.
 *
 * @param {string} folder URL of the folder `source` or `target`.
 * @returns {Promise<CharacterTokenizer>}
 */
export async function loadTokenizer(folder) {
  const { class_name: className, config } = await (await fetchFile(`${folder}/tokenizer.json`)).json();
  if (className !== "CharacterTokenizer") {
    throw new Error(`The tokenizer must be a CharacterTokenizer. Received: ${className}`);
  }
  const model = await (await fetchFile(`${folder}/sentencepiece.model`)).arrayBuffer();
  return new CharacterTokenizer(readPieces(new Uint8Array(model)), config);
}

/** Characters as tokens: `keras_attention.text.CharacterTokenizer`. */
export class CharacterTokenizer {
  /**
   * @param {string[]} vocabulary The tokens in the order of their ids.
   * @param {{lowercase: boolean, normalization: ?string}} config From `tokenizer.json`.
   */
  constructor(vocabulary, { lowercase, normalization }) {
    this.vocabulary = vocabulary;
    this.lowercase = lowercase;
    this.normalization = normalization;
    this.ids = new Map(vocabulary.map((token, id) => [token, id]));
  }

  /** Returns the text as the tokenizer reads it: plain spaces, one normal form, lower case. */
  normalize(text) {
    text = text.toWellFormed().replace(/[\t\n\f\r]/g, " ");
    if (this.normalization) text = text.normalize(this.normalization);
    return this.lowercase ? text.toLowerCase() : text;
  }

  /** Returns the ids of a text without special tokens. A run of unknown characters is one `[UNK]`. */
  tokenize(text) {
    const ids = [];
    for (const character of this.normalize(text)) {
      const id = this.ids.get(character === " " ? SPACE : character) ?? UNKNOWN;
      if (id !== UNKNOWN || ids.at(-1) !== UNKNOWN) ids.push(id);
    }
    return ids;
  }

  /** Returns the characters of a text that are not in the vocabulary, each once. */
  unknownCharacters(text) {
    const known = (character) => this.ids.has(character === " " ? SPACE : character);
    return [...new Set(this.normalize(text))].filter((character) => !known(character));
  }

  /** Returns the ids of a text, at most `maxLength` with `[END]`, which is the last one. */
  encode(text, maxLength = Infinity) {
    return [...this.tokenize(text).slice(0, maxLength - 1), END];
  }

  /** Returns the text of ids up to the first `[END]`, without padding. */
  decode(ids) {
    const end = ids.indexOf(END);
    const tokens = this.tokens(end < 0 ? ids : ids.slice(0, end));
    return tokens.filter((_, i) => ids[i] >= UNKNOWN).join("").replaceAll(SPACE, " ");
  }

  /** Returns the token of each id. */
  tokens(ids) {
    return Array.from(ids, (id) => this.vocabulary[id]);
  }
}

/**
 * Returns the pieces of a SentencePiece model, a Protocol Buffers message: field 1 of the model is
 * a piece, and field 1 of a piece is its text.
 *
 * @param {Uint8Array} model
 */
function readPieces(model) {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true }); // U+FEFF may be a piece
  const pieces = [];
  for (const [field, piece] of readFields(model)) {
    if (field !== 1) continue;
    for (const [field, text] of readFields(piece)) if (field === 1) pieces.push(utf8.decode(text));
  }
  return pieces;
}

/** Yields the number and the bytes of each field of a message; numbers have no bytes. */
function* readFields(message) {
  let position = 0;
  const readVarint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[position++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (position < message.length) {
    const tag = readVarint();
    const wireType = tag & 7;
    let length = 0;
    if (wireType === 0) readVarint();
    else if (wireType === 1) length = 8;
    else if (wireType === 2) length = readVarint();
    else if (wireType === 5) length = 4;
    else throw new Error("sentencepiece.model is damaged.");
    yield [tag >>> 3, message.subarray(position, position + length)];
    position += length;
  }
}
