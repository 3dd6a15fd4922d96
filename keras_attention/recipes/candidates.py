"""What a translator says of its training sources, and what that costs, for `MinimumRisk`."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_attention.generation import BeamSearch
from keras_attention.ops.ids import PAD
from keras_attention.tasks.translator import Translator
from keras_attention.text.batching import assign_buckets, decoder_inputs


class CandidateBatches(keras.utils.PyDataset):
    """Batches for `training.MinimumRisk`: candidates by beam search, and the reference after them.

    Each epoch draws some of the pairs, and the model, as it is then, writes `candidates` answers
    to each of their sources. Pairs are grouped by length by `text.bucketed_batches`; the last
    batch of a length waits for another epoch unless it is the only one.

    A batch of S sources is `({"source": (S * (candidates + 1), L), "target": the same}, labels of
    that shape, costs (S * (candidates + 1),))`; ids and labels as in
    `text.bucketed_batches`, and a row of padding where beam search found fewer answers.

    Args:
        task: the translator that is trained; its model is compiled.
        pairs: `(source, target)` to learn from.
        metric: `metric(hypotheses, references)`, higher is better. A candidate costs what it lacks
            to the metric of the reference against itself.
        batch_size: the most rows in a batch, `candidates + 1` to each source.
        max_length: the longest row, END counted.
        seed: of the draws.
        batch_tokens: the most positions in one side of a batch; None sets no limit.
        candidates: answers to each source.
        sources: in an epoch, about; at most all.

    Raises:
        ValueError: if there are no pairs, or a number is not positive.

    References:
        Shen et al. 2016, [Minimum Risk Training for Neural Machine
        Translation](https://arxiv.org/abs/1512.02433).

    Example:

    >>> from keras_attention.models import seq2seq
    >>> from keras_attention.text import CharacterTokenizer
    >>> letters = CharacterTokenizer.train(["abc"])
    >>> model = seq2seq(letters.vocabulary_size, letters.vocabulary_size, 4, 4)
    >>> model.compile("adam")
    >>> task = Translator(model, letters, letters)
    >>> same = lambda hypotheses, references: float(hypotheses == references)
    >>> data = CandidateBatches(task, [("ab", "ba"), ("c", "c")], same, 6, 8, candidates=2)
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
        candidates: int = 5,
        sources: int = 3072,
    ):
        super().__init__()
        if not pairs:
            raise ValueError(f"`pairs` should have at least one pair. Received: {pairs!r}")
        self.task, self.metric, self.seed = task, metric, seed
        self.candidates = candidates
        read, self.references = map(list, zip(*pairs, strict=True))
        texts = (task.source_tokenizer, read), (task.target_tokenizer, self.references)
        ragged = [tokenizer.encode_ragged(side, max_length) for tokenizer, side in texts]
        shape = [None, max_length]
        self.ids = [side.to_tensor(PAD, shape=shape).numpy() for side in ragged]  # (N, L)
        rows = np.maximum(*(side.row_lengths() for side in ragged))  # (N,)
        # Answers are cut at the length of their batch, which leaves them a fourth above the pair's.
        roomy = np.minimum(np.ceil(1.25 * rows), max_length)
        group = candidates + 1
        self.buckets = [  # pairs of about one length, that length, how many go into a batch
            (inside, length, min(max(1, size // group), len(inside)))
            for inside, length, size in assign_buckets(roomy, batch_size, max_length, batch_tokens)
        ]
        steps = sum(len(inside) // size for inside, _, size in self.buckets)
        self.steps = max(1, round(steps * min(1.0, sources / len(pairs))))
        self.written = None

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, place: int) -> tuple[dict, np.ndarray, np.ndarray]:
        if self.written is None:  # Keras asks for two, to see in which dimensions they differ
            inside, length, size = self.buckets[-(place % 2)]
            return self._write(inside[:size], length)
        return self.written[place]

    def on_epoch_begin(self) -> None:
        self.written = [self._write(*drawn) for drawn in self._draw()]

    def _draw(self) -> list[tuple[np.ndarray, int]]:
        """Which pairs are in each batch of an epoch, and their length."""
        # By its steps the model tells the epochs apart, also when training goes on after a cut.
        rng = np.random.default_rng((self.seed, int(self.task.model.optimizer.iterations)))
        drawn = []
        for inside, length, size in self.buckets:
            inside = rng.permutation(inside)
            starts = range(0, len(inside) - size + 1, size)
            drawn += [(inside[start : start + size], length) for start in starts]
        return [drawn[place] for place in rng.permutation(len(drawn))[: self.steps]]

    def _write(self, rows: np.ndarray, length: int) -> tuple[dict, np.ndarray, np.ndarray]:
        """The batch of these pairs, (size * (candidates + 1), length) each side."""
        sources, targets = (side[rows, :length] for side in self.ids)
        strategy = BeamSearch(
            self.candidates, num_return_sequences=self.candidates, max_new_tokens=length
        )
        found = self.task.model.generate(sources, strategy).ids  # (size, candidates, L)
        costs = [self._cost(row, ids) for row, ids in zip(rows, found, strict=True)]
        labels = np.concatenate([found, targets[:, None]], axis=1).reshape(-1, length)
        source = np.repeat(sources, self.candidates + 1, axis=0)
        inputs = {"source": source, "target": decoder_inputs(labels).numpy()}
        return inputs, labels, np.array(costs, "float32").reshape(-1)

    def _cost(self, row: int, ids: np.ndarray) -> list[float]:
        """What each candidate lacks to the reference's score; and the reference, nothing."""
        reference = [self.references[row]]
        texts = [text.decode() for text in self.task.target_tokenizer.detokenize(ids).numpy()]
        best = self.metric(reference, reference)
        return [best - self.metric([text], reference) for text in texts] + [0.0]
