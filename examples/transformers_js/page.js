// Runs an export in the browser with transformers.js. The export is at /model/.

import { env, pipeline } from "@huggingface/transformers";

env.allowRemoteModels = false; // a wrong path is an error, not a name on the hub
env.allowLocalModels = true; // browsers do not by default
env.localModelPath = "/"; // the folder of `model`
env.backends.onnx.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/"; // not of another server

const element = (id) => document.getElementById(id);

async function load() {
  const { model_type } = await (await fetch("/model/config.json")).json();
  const isTranslator = model_type === "marian";
  const run = await pipeline(isTranslator ? "translation" : "text-generation", "model");
  // The pipeline has a limit of its own, 256 tokens, in place of the export's.
  const { max_length, max_new_tokens } = run.model.generation_config;
  const options = isTranslator
    ? { max_new_tokens: max_length - 1 }
    : { max_new_tokens, return_full_text: false };
  return async (text) => {
    const [output] = await run(text, options);
    return isTranslator ? output.translation_text : output.generated_text;
  };
}

/** The promise of a function that returns the output for a text. */
export const loading = load();

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  element("run").disabled = true;
  try {
    const generate = await loading;
    element("output").textContent = await generate(element("text").value);
  } catch (error) {
    element("output").textContent = `The model failed. ${error.message}`;
  }
  element("run").disabled = false;
});

try {
  await loading;
  element("status").textContent = "The model is loaded.";
  element("run").disabled = false;
} catch (error) {
  element("status").textContent = `The model was not loaded. ${error.message}`;
}
