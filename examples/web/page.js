// The page: loads the export in the folder `model`, runs it on the text of the form, and shows the
// output with its attention weights.

import { createHeatmap } from "./heatmap.js";
import { Translator } from "./translator.js";

const FOLDER = "model";
const element = (id) => document.getElementById(id);

/** A promise of the translator. */
export const loading = Translator.load(FOLDER);

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  element("run").disabled = true;
  try {
    const translator = await loading;
    const text = element("text").value;
    showMessage(describeProblems(text, translator));
    showResult(await translator.generate(text), translator);
  } catch (error) {
    showError(error);
  } finally {
    element("run").disabled = false;
  }
});

try {
  const translator = await loading;
  showModel(translator);
  element("run").disabled = false;
  await showSamples(translator);
} catch (error) {
  element("status").textContent = "The model could not be loaded.";
  showError(error);
}

function showModel({ about, shape, threads }) {
  element("status").textContent =
    `${about.task}, ${about.weights} weights, up to ${shape[1] - 1} tokens, ` +
    (threads === 1 ? "1 thread" : `${threads} threads`);
}

/**
 * Offers the recorded samples of the export, if they were published with it, and warns if their
 * recorded ids are not those of the tokenizer.
 */
async function showSamples({ source, shape }) {
  const response = await fetch(`${FOLDER}/samples.json`);
  if (!response.ok) return;
  const { samples, inputs } = await response.json();
  const differs = (text, i) => `${source.encode(text, shape[1])}` !== `${inputs[i].source[0]}`;
  const numDifferent = samples.filter(differs).length;
  if (numDifferent) {
    showMessage(
      `The tokenizer gives other ids than Python's for ${numDifferent} of ${samples.length} ` +
        "recorded texts, so outputs may be wrong.",
    );
  }
  for (const text of samples.filter((sample) => sample)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => {
      element("text").value = text;
      element("form").requestSubmit();
    });
    element("examples").append(" ", button);
    element("examples").hidden = false;
  }
}

/** Returns sentences on what the model does not read of a text. */
function describeProblems(text, { source, shape }) {
  const sentences = [];
  const unknown = source.unknownTokens(text);
  if (unknown.length) {
    const names = unknown.map((token) => `${token} (${codePoints(token)})`);
    sentences.push(`Not in the vocabulary, read as [UNK]: ${names.join(", ")}`);
  }
  const length = source.tokenize(text).length;
  if (length > shape[1] - 1) {
    sentences.push(`The text has ${length} tokens; only the first ${shape[1] - 1} are read.`);
  }
  return sentences.join("\n");
}

/** Returns the usual names of the code points of a text: "U+00E9". */
function codePoints(text) {
  const names = [...text].map((each) => each.codePointAt(0).toString(16).toUpperCase());
  return names.map((name) => `U+${name.padStart(4, "0")}`).join(" ");
}

function showResult({ text, ids, score, sourceIds, attention, milliseconds }, { source, target }) {
  element("output").textContent = text;
  element("facts").textContent =
    `${milliseconds.toFixed(1)} ms for ${ids.length} tokens, score ${score.toFixed(2)}`;
  element("figure").hidden = !attention;
  if (attention) {
    const tokens = [source.tokens(sourceIds), target.tokens(ids)];
    element("alignment").replaceChildren(createHeatmap(attention, ...tokens));
  }
  element("result").hidden = false;
}

function showError(error) {
  element("result").hidden = true;
  showMessage(error.message ?? String(error));
}

function showMessage(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}
