"""The models that the parities are checked on. A new model joins by one line of `FAMILIES`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.generation import BeamSearch, GreedySearch, Sampling, Strategy
from keras_attention.layers import (
    ContentAttention,
    DotAttention,
    LuongAttention,
    MonotonicAttention,
    ResidualCNN,
)
from keras_attention.models import (
    captioner,
    causal_lm,
    classifier,
    masked_lm,
    seq2seq,
    tagger,
    transformer,
)

V = 8  # tokens: the four special ones and four letters
LIMIT = 12  # tokens of a source
IMAGE_SIZE = 8, 12
BEAM = BeamSearch(
    3, coverage_penalty=0.1, num_return_sequences=2, max_new_tokens=6, length_ratio=1.5
)
SAMPLE = Sampling(top_k=5, top_p=0.9, seed=3, num_return_sequences=2, max_new_tokens=6)
SMALL = {"num_layers": 2, "hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4}
LSTM = {"cell": "lstm", "encoder_layers": 2, "decoder_layers": 2}
GEMMA = {"norm": "sandwich", "norm_kind": "rms", "activation": "swiglu", "use_bias": False}


class Family(NamedTuple):
    """A model and the strategy of its exports, `None` for a model that generates nothing."""

    build: Callable[[], keras.Model]
    strategy: Strategy | None = BEAM


def rnn(attention: Any = "bahdanau", strategy: Strategy = BEAM, **options: Any) -> Family:
    def build():
        if callable(attention):
            options.update(attention=attention(), decoder_cell="luong")
        else:
            options.update(attention=attention)
        return seq2seq(V, V, 8, 8, dropout=0.0, **options)

    return Family(build, strategy)


def attention_is_all(strategy: Strategy = BEAM, **options: Any) -> Family:
    return Family(lambda: transformer(V, V, "tiny", dropout=0.0, **{**SMALL, **options}), strategy)


def language_model(**options: Any) -> Family:
    return Family(lambda: causal_lm(V, "tiny", dropout=0.0, **{**SMALL, **options}))


def captions(**options: Any) -> Family:
    return Family(
        lambda: captioner(
            V, IMAGE_SIZE, backbone=ResidualCNN((8,)), hidden_dim=8, dropout=0.0, **options
        )
    )


FAMILIES = {
    "RNN, Bahdanau": rnn(),
    "RNN, Bahdanau, tied, sampled": rnn(strategy=SAMPLE, tie_embeddings=True),
    "RNN, Luong, input feeding, stacked LSTM": rnn("luong", input_feeding=True, **LSTM),
    "RNN, Luong, added": rnn("luong", combine="add"),
    "RNN, same context at every step": rnn("fixed"),
    "RNN, no attention, source reversed": rnn(None, reverse_source=True),
    "RNN, dot, scaled": rnn(lambda: LuongAttention("dot", scale=True)),
    "RNN, general, local-m": rnn(
        lambda: LuongAttention("general", window="local-m", window_width=2)
    ),
    "RNN, concat, local-p": rnn(lambda: LuongAttention("concat", window="local-p", window_width=2)),
    "RNN, location": rnn(lambda: LuongAttention("location", max_length=LIMIT)),
    "RNN, content": rnn(ContentAttention),
    "RNN, scaled dot": rnn(DotAttention, GreedySearch(6)),
    "RNN, monotonic, parallel": rnn(lambda: MonotonicAttention(8, mode="parallel")),
    "RNN, monotonic, recursive": rnn(lambda: MonotonicAttention(8, mode="recursive")),
    "RNN, monotonic, hard": rnn(lambda: MonotonicAttention(8, mode="hard")),
    "Transformer": attention_is_all(),
    "Transformer, post, marian, sampled": attention_is_all(
        SAMPLE, norm="post", positions="marian", activation="gelu"
    ),
    "Transformer, learned, greedy": attention_is_all(
        GreedySearch(6), positions="learned", max_length=LIMIT
    ),
    "Transformer, rotary, grouped queries, sandwich": attention_is_all(
        positions="rotary", num_key_value_heads=2, **GEMMA
    ),
    "Transformer, relative, multi-query, RMS": attention_is_all(
        positions="relative", num_key_value_heads=1, norm_kind="rms"
    ),
    "Transformer, ALiBi, window": attention_is_all(positions="alibi", window=3),
    "Transformer, no positions, QK norm, soft cap": attention_is_all(
        positions=None, qk_norm=True, soft_cap=5.0, activation="geglu"
    ),
    "causal language model, rotary": language_model(),
    "causal language model, learned, window": language_model(
        positions="learned", max_length=2 * LIMIT, window=3
    ),
    "captioner, soft": captions(),
    "captioner, hard": captions(attention="hard"),
    "captioner, Transformer": captions(decoder="transformer", num_heads=2),
    "classifier": Family(lambda: classifier(V, 3, "tiny", **SMALL), None),
    "tagger": Family(lambda: tagger(V, 3, "tiny", **SMALL), None),
    "masked language model": Family(lambda: masked_lm(V, "tiny", **SMALL), None),
}


def build(name: str) -> keras.Model:
    """Builds a model with large random weights, so that outputs differ, the same every time."""
    model = FAMILIES[name].build()
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.8, weight.shape))
    return model


def sources(model: keras.Model) -> np.ndarray:
    """Returns three sources of a model: padded ids, or images."""
    if any(len(each.shape) == 4 for each in model.inputs):
        return np.random.default_rng(1).integers(0, 256, (3, *IMAGE_SIZE, 3), "uint8")
    return np.array([[4, 5, 6, 7, 3, 4], [7, 4, 2, 0, 0, 0], [5, 0, 0, 0, 0, 0]], "int32")
