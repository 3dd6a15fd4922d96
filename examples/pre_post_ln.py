"""Shows why a post-LN Transformer needs learning rate warm-up and a pre-LN Transformer does not.

    python examples/pre_post_ln.py --output pre_post_ln.png

A deep, narrow encoder learns to sort: for each position it predicts the token of the sorted row. It
is trained with the normalization after the residual sum ("post", Vaswani et al. 2017) and before
the sub-layer ("pre"), each without and with warm-up. Before training, the gradients of both are
compared (Xiong et al. 2020, https://arxiv.org/abs/2002.04745, figures 3 and 4).
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_attention.models import tagger
from keras_attention.training import LinearWarmup
from keras_attention.viz import save_figure

parser = argparse.ArgumentParser()
parser.add_argument("--output", type=Path, default=Path("pre_post_ln.png"))
parser.add_argument("--layers", type=int, default=12)
parser.add_argument("--hidden-dim", type=int, default=32)
parser.add_argument("--steps", type=int, default=300)
parser.add_argument("--warmup", type=int, default=100, help="number of warm-up steps")
parser.add_argument("--rate", type=float, default=3e-3, help="maximum learning rate")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

FIRST, TOKENS, LENGTH, BATCH = 4, 24, 16, 64  # ids below 4 are [PAD], [START], [END] and [UNK]
COLORS = {"post": "tab:red", "pre": "tab:blue"}


def rows(steps):
    """Returns random rows of ids and the same rows sorted, (N, T) each."""
    ids = np.random.default_rng(options.seed).integers(FIRST, TOKENS, (steps * BATCH, LENGTH))
    return ids.astype("int32"), np.sort(ids, axis=1)


def make(norm, layers, seed):
    keras.utils.set_random_seed(seed)
    sizes = {
        "num_layers": layers,
        "hidden_dim": options.hidden_dim,
        "intermediate_dim": 2 * options.hidden_dim,
        "num_heads": 4,
    }
    return tagger(TOKENS, TOKENS, norm=norm, dropout=0.0, **sizes)


class BatchLosses(keras.callbacks.Callback):
    """Records the loss of each batch; Keras's logs contain the mean of the epoch so far."""

    def on_train_begin(self, logs=None):
        self.values, self.total = [], 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = logs["loss"] * (batch + 1)
        self.values.append(total - self.total)
        self.total = total


def train(norm, warmup):
    """Trains a model and returns the loss of each step."""
    model, losses = make(norm, options.layers, options.seed), BatchLosses()
    model.compile(
        keras.optimizers.Adam(LinearWarmup(options.rate, warmup), beta_2=0.98),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=keras.backend.backend() != "torch",
    )
    # Each row is used once, so the training loss is the loss on new rows.
    model.fit(*rows(options.steps), batch_size=BATCH, shuffle=False, verbose=0, callbacks=[losses])
    return np.array(losses.values)


def gradient_norms(norm, layers, repeats=4):
    """Returns the mean gradient norm of each layer's W_2 (Vaswani et al. 2017, equation 2).

    The models are untrained, with different seeds.
    """
    norms = []
    for seed in range(repeats):
        model = make(norm, layers, seed)
        kernels = [block.feed_forward.outer.kernel for block in model.encoder.body.blocks]
        before = [keras.ops.convert_to_numpy(kernel).copy() for kernel in kernels]
        # A step of gradient descent with rate 1 subtracts the gradient, on every backend.
        model.compile(
            keras.optimizers.SGD(1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            run_eagerly=True,
        )
        model.train_on_batch(*rows(1))
        after = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
        norms.append([np.linalg.norm(a - b) for a, b in zip(after, before, strict=True)])
    return np.mean(norms, axis=0)


# 1. Gradients before training: by layer, and of the last layer of models of three depths.
depths = sorted({max(1, options.layers // 4), max(1, options.layers // 2), options.layers})
initial_norms = {norm: [gradient_norms(norm, depth) for depth in depths] for norm in COLORS}
print("Norm of the gradient of the last layer's W_2, at initialization")
print("layers  " + "".join(f"{depth:>8}" for depth in depths))
for norm, stacks in initial_norms.items():
    print(f"{norm + '-LN':8}" + "".join(f"{norms[-1]:>8.3f}" for norms in stacks))

# 2. Four training runs.
chance = np.log(TOKENS - FIRST)
tail = max(1, options.steps // 20)
print(f"\nLoss, mean of the last {tail} of {options.steps} steps (chance: {chance:.2f})")
print(f"{'':8} {'no warm-up':>11} {'warm-up':>9}")
curves = {}
for norm in COLORS:
    for warmup in (1, options.warmup):
        curves[norm, warmup] = train(norm, warmup)
    plain, warmed = (curves[norm, warmup][-tail:].mean() for warmup in (1, options.warmup))
    print(f"{norm + '-LN':8} {plain:>11.3f} {warmed:>9.3f}", flush=True)

# 3. The figure.
figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2)
for (norm, warmup), losses in curves.items():
    smooth = np.convolve(losses, np.ones(tail) / tail, mode="valid")
    left.plot(
        np.arange(tail, len(losses) + 1),
        smooth,
        color=COLORS[norm],
        linestyle="-" if warmup == 1 else "--",
        label=f"{norm}-LN, {'no' if warmup == 1 else f'{warmup} steps of'} warm-up",
    )
left.axhline(chance, color="grey", linewidth=0.8, linestyle=":", label="chance")
left.set(
    title=f"{options.layers} layers learn to sort (Adam, rate {options.rate:g})",
    xlabel="step",
    ylabel=f"loss, mean of {tail} steps",
    ylim=(0, None),
)
left.legend(fontsize="small")
for norm, (*_, norms) in initial_norms.items():
    right.plot(
        np.arange(1, options.layers + 1), norms, "o-", color=COLORS[norm], label=f"{norm}-LN"
    )
right.set(
    title="Gradients at initialization",
    xlabel="layer",
    ylabel=r"norm of the gradient of $W_2$",
    ylim=(0, None),
)
right.legend()
save_figure(figure, options.output)
print(f"\n{options.output}")
