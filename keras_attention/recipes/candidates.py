"""Batches of a translator's own outputs and their costs, for `MinimumRisk`."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_attention.generation import BeamSearch
from keras_attention.ops.ids import PAD
from keras_attention.tasks.translator import Translator
from keras_attention.text.batching import assign_buckets, decoder_inputs
from keras_attention.utils.validation import check_pairs


class CandidateBatches(keras.utils.PyDataset):
    """Batches for `training.MinimumRisk`: beam search candidates of a source and its reference.

    Each epoch draws a part of the pairs, a function of the seed and the epoch. The model, with its
    current weights, translates each source into `num_candidates` candidates. Pairs are grouped by
    length as in `text.bucketed_batches`. An incomplete last batch of a length is left out, unless
    it is the only one.

    A batch of S sources is `(inputs, labels, costs)`. `inputs` is
    `{"source": (S * (num_candidates + 1), L), "target": the same}`, `labels` has the same shape,
    and `costs` is `(S * (num_candidates + 1),)`. Ids and labels are as in
    `text.bucketed_batches`; where beam search returned fewer candidates, a row is padding.

    Args:
        task: Translator that is trained; its model is compiled.
        pairs: Training pairs, `(source, target)`.
        metric: Callable `metric(hypotheses, references)`; higher is better. The cost of a
            candidate is the metric of the reference against itself minus that of the candidate.
        batch_size: Maximum number of rows in a batch, `num_candidates + 1` for each source.
        max_length: Maximum length of a row, including `[END]`.
        seed: Seed of the draws.
        batch_tokens: Maximum number of tokens in one side of a batch, including padding. `None`
            sets no limit.
        num_candidates: Number of candidates for each source.
        num_sources: Approximate number of sources in an epoch, at most all.

    Raises:
        ValueError: If there are no pairs, or a number is not positive.

    References:
        Shen et al. 2016, [Minimum Risk Training for Neural Machine
        Translation](https://arxiv.org/abs/1512.02433).

    Example:

    >>> from keras_attention.models import seq2seq
    >>> from keras_attention.text import CharacterTokenizer
    >>> tokenizer = CharacterTokenizer.train(["abc"])
    >>> model = seq2seq(tokenizer.vocabulary_size, tokenizer.vocabulary_size, 4, 4)
    >>> model.compile("adam")
    >>> task = Translator(model, tokenizer, tokenizer)
    >>> exact_match = lambda hypotheses, references: float(hypotheses == references)
    >>> pairs = [("ab", "ba"), ("c", "c")]
    >>> data = CandidateBatches(task, pairs, exact_match, 6, 8, num_candidates=2)
    >>> inputs, labels, costs = data[0]
    >>> labels.shape, costs.shape
    ((6, 8), (6,))
    """

    def __init__(
        self,
        task: Translator,
        pairs: Sequence[tuple[str, str]],
        metric: Callable[[list[str], list[str]], float],
        batch_size: int,
        max_length: int,
        seed: int = 0,
        batch_tokens: int | None = None,
        num_candidates: int = 5,
        num_sources: int = 3072,
    ):
        super().__init__()
        check_pairs("pairs", pairs)
        self.task, self.metric, self.seed = task, metric, seed
        self.num_candidates = num_candidates
        sources, self.references = map(list, zip(*pairs, strict=True))
        texts = (task.source_tokenizer, sources), (task.target_tokenizer, self.references)
        ragged = [tokenizer.encode_ragged(side, max_length) for tokenizer, side in texts]
        shape = [None, max_length]
        self.ids = [side.to_tensor(PAD, shape=shape).numpy() for side in ragged]  # (N, L) each
        lengths = np.maximum(*(side.row_lengths() for side in ragged))  # (N,)
        # Candidates are truncated to the length of their batch: leave room for a quarter more.
        lengths = np.minimum(np.ceil(1.25 * lengths), max_length)
        rows_per_source = num_candidates + 1
        buckets = assign_buckets(lengths, batch_size, max_length, batch_tokens)
        # (indices of pairs of similar length, row length, number of sources in a batch)
        self.buckets = [
            (inside, length, min(max(1, size // rows_per_source), len(inside)))
            for inside, length, size in buckets
        ]
        steps = sum(len(inside) // size for inside, _, size in self.buckets)
        self.steps = max(1, round(steps * min(1.0, num_sources / len(pairs))))
        self.epoch = 0  # set by `training.SetEpoch`
        self.epoch_batches: list[tuple] | None = None

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict, np.ndarray, np.ndarray]:
        if self.epoch_batches is None:
            # Before the first epoch, Keras compares two batches to find which dimensions vary.
            inside, length, size = self.buckets[-(index % 2)]
            return self._make_batch(inside[:size], length)
        return self.epoch_batches[index]

    def on_epoch_begin(self) -> None:
        self.epoch_batches = [self._make_batch(*drawn) for drawn in self._draw()]

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _draw(self) -> list[tuple[np.ndarray, int]]:
        """Draws the indices of the pairs in each batch of an epoch, with the row length."""
        rng = np.random.default_rng((self.seed, self.epoch))
        drawn = []
        for inside, length, size in self.buckets:
            inside = rng.permutation(inside)
            starts = range(0, len(inside) - size + 1, size)
            drawn += [(inside[start : start + size], length) for start in starts]
        return [drawn[index] for index in rng.permutation(len(drawn))[: self.steps]]

    def _make_batch(self, rows: np.ndarray, length: int) -> tuple[dict, np.ndarray, np.ndarray]:
        """Translates pairs into a batch of candidates and references, with their costs."""
        sources, targets = (side[rows, :length] for side in self.ids)
        k = self.num_candidates
        strategy = BeamSearch(k, num_return_sequences=k, max_new_tokens=length)
        candidates = self.task.model.generate(sources, strategy).ids  # (S, k, L)
        costs = [self._costs(row, ids) for row, ids in zip(rows, candidates, strict=True)]
        labels = np.concatenate([candidates, targets[:, None]], axis=1)  # (S, k + 1, L)
        labels = labels.reshape(-1, length)  # (S * (k + 1), L)
        source = np.repeat(sources, k + 1, axis=0)  # (S * (k + 1), L)
        inputs = {"source": source, "target": decoder_inputs(labels).numpy()}
        return inputs, labels, np.array(costs, "float32").reshape(-1)

    def _costs(self, row: int, ids: np.ndarray) -> list[float]:
        """Returns the cost of each candidate, and 0 for the reference."""
        reference = [self.references[row]]
        texts = [text.decode() for text in self.task.target_tokenizer.detokenize(ids).numpy()]
        best = self.metric(reference, reference)
        return [best - self.metric([text], reference) for text in texts] + [0.0]
