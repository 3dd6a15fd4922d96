"""Generation of the same number of tokens: this library, transformers and CTranslate2.

[END] is suppressed, so that every run generates all tokens. Options: batch, source_length, tokens,
num_beams, layers, hidden_dim, heads, vocabulary, max_new_tokens, dtype_policy; of CTranslate2 also
weights, inter_threads and intra_threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from keras_attention.generation import BeamSearch, Generator, GreedySearch
from keras_attention.generation.logits_processors import SuppressTokens
from keras_attention.models import transformer
from keras_attention.ops.ids import END
from steps.products import Product, run_products


class EndlessGreedySearch(GreedySearch):
    """Greedy search that never generates [END]."""

    @property
    def logits_processors(self):
        return [*super().logits_processors, SuppressTokens([END])]


class EndlessBeamSearch(BeamSearch):
    """Beam search that never generates [END]."""

    @property
    def logits_processors(self):
        return [*super().logits_processors, SuppressTokens([END])]


def endless_strategy(num_beams, max_new_tokens):
    """Returns greedy search for one beam, and beam search for more."""
    if num_beams == 1:
        return EndlessGreedySearch(max_new_tokens=max_new_tokens)
    return EndlessBeamSearch(num_beams, max_new_tokens=max_new_tokens)


def random_transformer(options):
    """Returns a Transformer with random weights."""
    keras.utils.set_random_seed(0)
    return transformer(
        options.vocabulary,
        options.vocabulary,
        num_layers=options.layers,
        hidden_dim=options.hidden_dim,
        num_heads=options.heads,
        intermediate_dim=4 * options.hidden_dim,
    )


def random_source(options):
    """Returns random ids, (batch, source_length)."""
    shape = options.batch, options.source_length
    return np.random.default_rng(0).integers(4, options.vocabulary, shape, "int32")


def keras_attention(options):
    """Returns a function that generates with a model of this library."""
    keras.config.set_dtype_policy(options.dtype_policy)
    return generate_with(random_transformer(options), options)


def keras_int8(options):
    """Returns a function that generates with a model of this library that Keras has quantized."""
    keras.config.set_dtype_policy(options.dtype_policy)
    model = random_transformer(options)
    model.quantize("int8")
    return generate_with(model, options)


def generate_with(model, options):
    """Returns a function that generates with a model."""
    strategy = endless_strategy(options.num_beams, options.max_new_tokens)
    generator = Generator(model, strategy)
    limits = np.full(options.batch, options.tokens, "int32")
    inputs = {"source": random_source(options), "max_new_tokens": limits}
    return lambda: np.asarray(generator.predict_on_batch(inputs)["ids"])


def transformers(options):
    """Returns a function that generates with a Marian model of transformers, on PyTorch."""
    import torch
    from transformers import MarianConfig, MarianMTModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    last = options.vocabulary - 1
    sizes = {
        "d_model": options.hidden_dim,
        **{f"{part}_layers": options.layers for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": options.heads for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 4 * options.hidden_dim for part in ("encoder", "decoder")},
    }
    ids = {"pad_token_id": last, "eos_token_id": 0, "decoder_start_token_id": last}
    model = MarianMTModel(MarianConfig(vocab_size=last + 1, **sizes, **ids)).eval().to(device)
    if options.dtype_policy != "float32":
        model = model.to(getattr(torch, options.dtype_policy.removeprefix("mixed_")))
    source = torch.tensor(random_source(options), device=device)
    length = {"min_new_tokens": options.tokens, "max_new_tokens": options.tokens}

    @torch.inference_mode()
    def run():
        mask = torch.ones_like(source)
        return model.generate(
            source, attention_mask=mask, num_beams=options.num_beams, do_sample=False, **length
        ).cpu()

    return run


def ctranslate2(options):
    """Returns a function that generates with the CTranslate2 model of this library's export."""
    import tempfile

    from ctranslate2 import Translator

    from keras_attention.export.ctranslate2.writer import Generation, write_model

    strategy = endless_strategy(options.num_beams, options.max_new_tokens)
    words = ["[PAD]", "[START]", "[END]", "[UNK]"]
    words += [f"word {i}" for i in range(len(words), options.vocabulary)]
    model = random_transformer(options)
    with tempfile.TemporaryDirectory() as folder:
        contents = Generation(model, strategy, [words, words], options.source_length)
        write_model(contents, Path(folder), options.weights)
        threads = {name: getattr(options, name) for name in ("inter_threads", "intra_threads")}
        translator = Translator(folder, device="cpu", **threads)
    sources = [[words[i] for i in row] for row in random_source(options)]
    search = {
        "beam_size": options.num_beams,
        "min_decoding_length": options.tokens,
        "max_decoding_length": options.tokens,
        "suppress_sequences": [[word] for word in words[:3]],
        "max_batch_size": -(-options.batch // options.inter_threads),
    }
    return lambda: translator.translate_batch(sources, **search)


def limit(options):
    """Returns a function that computes the matrix products of the decoder and nothing else.

    A step reads all weights of the decoder; those of the keys and values of the source are
    multiplied once.
    """
    rows, width, steps = options.batch * options.num_beams, options.hidden_dim, options.tokens
    products = run_products(
        [
            Product(rows, width, width, 6 * options.layers),
            Product(rows, width, 4 * width, options.layers),
            Product(rows, 4 * width, width, options.layers),
            Product(rows, width, options.vocabulary),
        ],
        options.dtype_policy.removeprefix("mixed_"),
    )
    return lambda: [products() for _ in range(steps)][-1]


def read_weights(options):
    """Returns a function that reads the weights of the decoder for each token, with all cores.

    For few rows this takes longer than the operations on them, so that it limits the time. Options:
    tokens, layers, hidden_dim, vocabulary, weights.
    """
    width, size = options.hidden_dim, np.dtype(options.weights).itemsize
    count = 14 * width**2 * options.layers + width * options.vocabulary
    cores = os.cpu_count() or 1
    parts = np.array_split(np.ones(count * size // 4, "float32"), cores)
    threads = ThreadPoolExecutor(cores)

    def read(part):
        return [part.max() for _ in range(options.tokens)][-1]  # NumPy releases the lock

    return lambda: list(threads.map(read, parts))
