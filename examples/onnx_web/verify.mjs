// Runs an ONNX export in onnxruntime-web, as a browser does, and compares with recorded outputs.
//
//     npm install
//     node verify.mjs FOLDER [SAMPLES]
//
// FOLDER is an export from text to text; SAMPLES is a file like its samples.json, the default.

import { readFile } from "node:fs/promises";
import path from "node:path";
import * as ort from "onnxruntime-web";

const SCORE_TOLERANCE = 1e-4; // relative, absolute below 1, as in `keras-attention verify`

const [folder, samplesFile = path.join(folder ?? "", "samples.json")] = process.argv.slice(2);
if (!folder) throw new Error("Usage: node verify.mjs FOLDER [SAMPLES]");
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(await readFile(path.join(folder, "model.onnx")));
const recorded = JSON.parse(await readFile(samplesFile, "utf8"));

let equal = 0;
let greatestDifference = 0;
let milliseconds = 0;
for (const [i, inputs] of recorded.inputs.entries()) {
  const rows = inputs.source;
  const source = new ort.Tensor("int32", Int32Array.from(rows.flat()), [rows.length, rows[0].length]);
  const start = performance.now();
  const outputs = await session.run({ source }, ["ids", "scores"]);
  milliseconds += performance.now() - start;
  const expected = recorded.outputs[i];
  const ids = expected.ids.flat(Infinity);
  const sameIds = ids.length === outputs.ids.data.length && ids.every((id, j) => id === outputs.ids.data[j]);
  const differences = expected.scores
    .flat()
    .map((score, j) => Math.abs(score - outputs.scores.data[j]) / Math.max(1, Math.abs(score)));
  greatestDifference = Math.max(greatestDifference, ...differences);
  if (sameIds) equal += 1;
  else console.log(`differs: ${JSON.stringify(recorded.samples[i])}`);
}
const count = recorded.inputs.length;
console.log(
  `onnxruntime-web ${ort.env.versions.web}: ${equal} of ${count} outputs equal, ` +
    `scores within ${greatestDifference.toExponential(0)}, ` +
    `${(milliseconds / count).toFixed(1)} ms per input`,
);
if (equal < count || !(greatestDifference <= SCORE_TOLERANCE)) process.exit(1);
