// Compares an ONNX export in onnxruntime-web with recorded outputs, in Node.js and in browsers.

import * as ort from "onnxruntime-web";

const SCORE_TOLERANCE = 1e-4; // relative, absolute below 1, as in `keras-attention verify`

ort.env.logLevel = "error";

/**
 * Runs an export from text to text on recorded inputs.
 *
 * Returns whether the outputs are the recorded ones, and a line of text for each that is not and
 * for the result.
 */
export async function compare(model, recorded) {
  const session = await ort.InferenceSession.create(model);
  const lines = [];
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
    else lines.push(`differs: ${JSON.stringify(recorded.samples[i])}`);
  }
  const count = recorded.inputs.length;
  lines.push(
    `onnxruntime-web ${ort.env.versions.web}: ${equal} of ${count} outputs equal, ` +
      `scores within ${greatestDifference.toExponential(0)}, ` +
      `${(milliseconds / count).toFixed(1)} ms per input`,
  );
  return { agrees: equal === count && greatestDifference <= SCORE_TOLERANCE, lines };
}
