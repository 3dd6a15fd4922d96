// A TFLite export of a translator in LiteRT.js: text in, text and attention weights out.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { fetchFile } from "./files.js";
import { END } from "./tokenizer.js";
import { loadTokenizer } from "./tokenizers.js";

const WASM_FOLDER = new URL("node_modules/@litertjs/core/wasm/", import.meta.url).href;

/** A translator whose model is an exported file; `Translator.load` opens one. */
export class Translator {
  /**
   * Loads LiteRT.js and an export of static shapes. Call it once for a page.
   *
   * @param {string} folder URL of the export.
   * @returns {Promise<Translator>}
   */
  static async load(folder) {
    const about = await (await fetchFile(`${folder}/export.json`)).json();
    if (about.export !== "tflite" || !about.static_shape) {
      throw new Error(
        'The model must be a TFLite export of static shapes: export(folder, "tflite", ' +
          "static=(1, length)).",
      );
    }
    if (about.task !== "Translator") {
      throw new Error(`The task must be a Translator. Received: ${about.task}`);
    }
    const [source, target, file] = await Promise.all([
      loadTokenizer(`${folder}/source`),
      loadTokenizer(`${folder}/target`),
      fetchFile(`${folder}/model.tflite`).then((response) => response.arrayBuffer()),
    ]);
    const threads = await loadRuntime();
    const model = await loadAndCompile(new Uint8Array(file), { accelerator: "wasm" });
    return new Translator(model, source, target, about, threads);
  }

  constructor(model, source, target, about, threads) {
    this.model = model;
    this.source = source;
    this.target = target;
    this.about = about;
    this.threads = threads;
    this.shape = about.static_shape; // [batch, source length]
    // The signature with attention weights, if the file has it.
    this.signature = "details" in model.signatures ? "details" : "serving_default";
  }

  /**
   * Generates from one text.
   *
   * @param {string} text
   * @returns {Promise<Object>} `text`, `ids` and `score` of the best hypothesis; `sourceIds`;
   *   `attention`, an array of weights of the source tokens for each id, or null; `milliseconds`
   *   that the model took.
   */
  async generate(text) {
    const sourceIds = this.source.encode(text, this.shape[1]);
    const start = performance.now();
    const { ids, scores, attention } = await this.run(sourceIds);
    const milliseconds = performance.now() - start;
    const best = ids.values.subarray(0, ids.shape[2]); // of (batch, hypotheses, length)
    const end = best.indexOf(END);
    const outputIds = Array.from(end < 0 ? best : best.subarray(0, end + 1)); // with [END]
    return {
      text: this.target.decode(outputIds),
      ids: outputIds,
      score: scores.values[0],
      sourceIds,
      attention: attention ? cropWeights(attention, outputIds.length, sourceIds.length) : null,
      milliseconds,
    };
  }

  /** Runs the file; returns the values and the shape of each output. */
  async run(sourceIds) {
    const [batch, length] = this.shape;
    const padded = new Int32Array(batch * length); // zeros: [PAD]
    for (let row = 0; row < batch; row++) padded.set(sourceIds, row * length);
    const source = new Tensor(padded, this.shape);
    let outputs = {};
    try {
      outputs = await this.model.run(this.signature, { source });
      const details = this.model.signatures[this.signature].getOutputDetails();
      return Object.fromEntries(
        details.map(({ name, shape }) => [name, { values: outputs[name].toTypedArray(), shape }]),
      );
    } finally {
      // Tensors are memory of the WebAssembly module, which JavaScript does not release.
      for (const tensor of [source, ...Object.values(outputs)]) tensor.delete();
    }
  }
}

/** Loads LiteRT.js, with threads where the browser allows them; returns their number. */
async function loadRuntime() {
  if (crossOriginIsolated) {
    try {
      const { liteRtWasm } = await loadLiteRt(WASM_FOLDER, { threads: true });
      return liteRtWasm.getThreadCount();
    } catch {
      // A browser without relaxed SIMD has no threaded version.
    }
  }
  try {
    await loadLiteRt(WASM_FOLDER);
  } catch {
    throw new Error(`LiteRT.js could not be loaded from ${WASM_FOLDER}.`);
  }
  return 1;
}

/** Returns the weights of the best hypothesis as an array for each target token. */
function cropWeights({ values, shape }, targetLength, sourceLength) {
  const row = shape[3]; // of (batch, hypotheses, target length, source length)
  return Array.from({ length: targetLength }, (_, i) =>
    Array.from(values.subarray(i * row, i * row + sourceLength)),
  );
}
