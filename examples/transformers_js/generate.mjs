// Continues the lines of standard input with transformers.js and an export of a text generator.
//
//     npm install
//     node generate.mjs FOLDER < prompts.txt

import path from "node:path";
import { text } from "node:stream/consumers";
import { env, pipeline } from "@huggingface/transformers";

const [folder] = process.argv.slice(2);
if (!folder) throw new Error("Usage: node generate.mjs FOLDER < prompts.txt");
env.allowRemoteModels = false; // a wrong path is an error, not a name on the hub
const generator = await pipeline("text-generation", path.resolve(folder));

// The pipeline has a limit of its own, 256 tokens, in place of the export's.
const { max_new_tokens } = generator.model.generation_config;
const lines = (await text(process.stdin)).replace(/\n$/, "").split("\n");
for (const [{ generated_text }] of await generator(lines, { max_new_tokens, return_full_text: false })) {
  console.log(generated_text);
}
