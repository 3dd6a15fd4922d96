// Translates the lines of standard input with transformers.js and an export of a translator.
//
//     npm install
//     node translate.mjs FOLDER < source.txt

import path from "node:path";
import { text } from "node:stream/consumers";
import { env, pipeline } from "@huggingface/transformers";

const [folder] = process.argv.slice(2);
if (!folder) throw new Error("Usage: node translate.mjs FOLDER < source.txt");
env.allowRemoteModels = false; // a wrong path is an error, not a name on the hub
const translator = await pipeline("translation", path.resolve(folder));

// The pipeline has a limit of its own, 256 tokens, in place of the export's.
const options = { max_new_tokens: translator.model.generation_config.max_length - 1 };
const lines = (await text(process.stdin)).replace(/\n$/, "").split("\n");
for (const { translation_text } of await translator(lines, options)) {
  console.log(translation_text);
}
