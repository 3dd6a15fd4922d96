// SentencePiece tokenizers, on the Unigram model of @huggingface/tokenizers.

import { PrecompiledNormalizer, Unigram } from "@huggingface/tokenizers";

import { SPACE, Tokenizer } from "./tokenizer.js";

// Values of SentencePiece's sentencepiece_model.proto.
const NORMAL = 1, CONTROL = 3, BYTE = 6;
const UNIGRAM = 1;

// Stands for [UNK] in the Unigram model; well-formed text cannot contain it.
const UNKNOWN_PIECE = "\ud800";

// A piece may be U+FEFF, which is not a byte order mark here.
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** `keras_attention.text.SentencePieceTokenizer`. */
export class SentencePieceTokenizer extends Tokenizer {
  /**
   * @param {Object} model From `readModel`.
   * @param {Object} config From `tokenizer.json`.
   * @param {string[]} vocabulary The tokens in the order of their ids.
   */
  constructor(model, config, vocabulary = model.pieces.map(({ text }) => text)) {
    super(vocabulary, config);
    checkModel(model);
    const pieces = model.pieces.filter(({ type }) => type === NORMAL);
    const vocab = pieces.map(({ text, score }) => [text, score]);
    this.unigram = new Unigram({ vocab: [[UNKNOWN_PIECE, 0], ...vocab], unk_id: 0 });
  }

  split(text) {
    const words = text.split(" ").filter((word) => word);
    // SentencePiece also removes its own letter for a space from the end.
    const escaped = (SPACE + words.join(SPACE)).replace(/▁+$/, "");
    return escaped ? this.unigram([escaped]) : [];
  }

  join(tokens) {
    return tokens.join("").replace(/^▁+/, "").replaceAll(SPACE, " ");
  }
}

/** `keras_attention.text.MarianTokenizer`: ids of a vocabulary apart from the model. */
export class MarianTokenizer extends SentencePieceTokenizer {
  constructor(model, config) {
    super(model, config, config.vocabulary);
    this.normalizer = new PrecompiledNormalizer({ type: "Precompiled" });
    const control = model.pieces.filter(({ type }) => type === CONTROL);
    this.silent = new Set(["[UNK]", ...control.map(({ text }) => text)]);
  }

  /** A text may begin with a language code such as `>>fra<<`, which is one token. */
  split(text) {
    const [, code, rest] = text.match(/^(>>.*?<<)?(.*)$/s);
    return [...(code ? [code] : []), ...super.split(this.normalizer.normalize(rest))];
  }

  join(tokens) {
    const pieces = tokens.filter((token) => !this.silent.has(token));
    return pieces.join("").replaceAll(SPACE, " ").trim();
  }
}

/** Throws an error unless the model is one that the two classes represent. */
function checkModel({ pieces, modelType, addDummyPrefix, removeExtraWhitespaces }) {
  if (modelType !== UNIGRAM || pieces.some(({ type }) => type === BYTE)) {
    throw new Error("The SentencePiece model must be a unigram model without byte pieces.");
  }
  if (!addDummyPrefix || !removeExtraWhitespaces) {
    throw new Error("The SentencePiece model must add a space in front and remove extra spaces.");
  }
}

/**
 * Reads a SentencePiece model, a Protocol Buffers message.
 *
 * @param {Uint8Array} model
 * @returns {Object} `pieces`, each with `text`, `score` and `type`, and the options of the model.
 */
export function readModel(model) {
  const result = { pieces: [], modelType: UNIGRAM, addDummyPrefix: 1, removeExtraWhitespaces: 1 };
  for (const [field, value] of readFields(model)) {
    if (field === 1) {
      result.pieces.push(readPiece(value));
    } else if (field === 2) {
      for (const [field, number] of readFields(value)) if (field === 3) result.modelType = number;
    } else if (field === 3) {
      for (const [field, number] of readFields(value)) {
        if (field === 3) result.addDummyPrefix = number;
        if (field === 4) result.removeExtraWhitespaces = number;
      }
    }
  }
  return result;
}

function readPiece(message) {
  const piece = { text: "", score: 0, type: NORMAL };
  for (const [field, value] of readFields(message)) {
    if (field === 1) piece.text = UTF8.decode(value);
    if (field === 2) piece.score = value;
    if (field === 3) piece.type = value;
  }
  return piece;
}

/** Yields the number and the value of each field of a message: a number, or bytes. */
function* readFields(message) {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  let position = 0;
  const readVarint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = view.getUint8(position++);
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (position < message.length) {
    const tag = readVarint();
    const [field, wireType] = [tag >>> 3, tag & 7];
    if (wireType === 0) {
      yield [field, readVarint()];
    } else if (wireType === 2) {
      const length = readVarint();
      const end = position + length;
      yield [field, message.subarray(position, end)];
      position = end;
    } else if (wireType === 5) {
      yield [field, view.getFloat32(position, true)];
      position += 4;
    } else {
      throw new Error("sentencepiece.model is damaged.");
    }
  }
}
