// Runs an ONNX export in onnxruntime-web under Node.js and compares with recorded outputs.
//
//     npm install
//     node verify.mjs FOLDER [SAMPLES]
//
// FOLDER is an export from text to text; SAMPLES is a file like its samples.json, the default.

import { readFile } from "node:fs/promises";
import path from "node:path";
import { compare } from "./compare.mjs";

const [folder, samplesFile = path.join(folder ?? "", "samples.json")] = process.argv.slice(2);
if (!folder) throw new Error("Usage: node verify.mjs FOLDER [SAMPLES]");
const model = await readFile(path.join(folder, "model.onnx"));
const { agrees, lines } = await compare(model, JSON.parse(await readFile(samplesFile, "utf8")));
console.log(lines.join("\n"));
if (!agrees) process.exit(1);
