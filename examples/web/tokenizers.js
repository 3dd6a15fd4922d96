// Loading of an export's tokenizers.

import { fetchFile } from "./files.js";
import { MarianTokenizer, readModel, SentencePieceTokenizer } from "./sentencepiece.js";
import { CharacterTokenizer } from "./tokenizer.js";

const TOKENIZERS = {
  CharacterTokenizer: ({ pieces }, config) =>
    new CharacterTokenizer(pieces.map(({ text }) => text), config),
  MarianTokenizer: (model, config) => new MarianTokenizer(model, config),
  SentencePieceTokenizer: (model, config) => new SentencePieceTokenizer(model, config),
};

/**
 * Loads a tokenizer from its folder in an export.
 *
 * @param {string} folder URL of the folder `source` or `target`.
 * @returns {Promise<import("./tokenizer.js").Tokenizer>}
 */
export async function loadTokenizer(folder) {
  const saved = await (await fetchFile(`${folder}/tokenizer.json`)).json();
  const create = TOKENIZERS[saved.class_name];
  if (!create) {
    throw new Error(
      `The tokenizer must be one of ${Object.keys(TOKENIZERS).join(", ")}. ` +
        `Received: ${saved.class_name}`,
    );
  }
  const model = await (await fetchFile(`${folder}/sentencepiece.model`)).arrayBuffer();
  return create(readModel(new Uint8Array(model)), saved.config);
}
