// Token by token: an app that runs the decoding loop itself, with the signatures `encode` and `decode`
// of an export with `steps=True` (`--steps`).

import { Tensor } from "@litertjs/core";

import { END } from "./tokenizer.js";

const START = 1;

/**
 * Yields the ids of greedy search as they are generated, the last one `[END]` unless the maximum
 * number of tokens is reached.
 *
 * @param {Object} model From `loadAndCompile`, of batch size 1.
 * @param {Int32Array} sourceIds Padded to the static length.
 */
export async function* generateIds(model, sourceIds) {
  const { encode, decode } = model.signatures;
  const maxNewTokens = outputShape(model.signatures.serving_default, "ids")[2];
  const source = new Tensor(sourceIds, [1, sourceIds.length]);
  const tensors = await encode.run({ source });
  source.delete();
  for (const { name, shape } of decode.getInputDetails()) {
    if (name.startsWith("state_")) tensors[name] ??= createZeros(shape); // empty caches
  }
  try {
    let id = START;
    for (let position = 0; position < maxNewTokens && id !== END; position++) {
      const token = {
        ids: new Tensor(Int32Array.of(id), [1]),
        position: new Tensor(Int32Array.of(position), []),
      };
      const { logits, ...state } = await decode.run({ ...tensors, ...token });
      id = argmax(logits.toTypedArray());
      for (const tensor of [token.ids, token.position, logits]) tensor.delete();
      for (const [name, tensor] of Object.entries(state)) {
        tensors[name].delete();
        tensors[name] = tensor;
      }
      yield id;
    }
  } finally {
    for (const tensor of Object.values(tensors)) tensor.delete();
  }
}

function createZeros(shape) {
  return new Tensor(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape);
}

function outputShape(signature, name) {
  return signature.getOutputDetails().find((each) => each.name === name).shape;
}

function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
