"""Types that signatures share, and the protocols that the parts of a model follow."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

# A tensor of any backend, a NumPy array, or a KerasTensor.
Tensor: TypeAlias = Any
# A bool tensor, True where an item takes part; `None` masks nothing.
Mask: TypeAlias = Any | None


class Decoder(Protocol):
    """Contract between a decoder and the strategies that generate with it.

    Beams are queries: `step` always has a beam axis (of length 1 in greedy search), constants have
    none and are never repeated for each beam, and every leaf of the state is `(batch, beams, ...)`,
    so that reordering beams is one gather. Every leaf of the constants is `(batch, ...)`, or has a
    first axis of size 1 if all rows share it, so that rows that have ended can leave the batch.

    Only a `BeamCache` is not reordered, as copying it would take longer than the step: the state of
    its decoder says which beam wrote each slot, see `ops.beam_cache.CacheState`. Stepping gives the
    same logits as `call`.
    """

    @property
    def vocabulary_size(self) -> int:
        """Number of target ids."""
        ...

    @property
    def has_cache(self) -> bool:
        """True if the state has key/value caches, with a slot for each step."""
        ...

    def call(self, target_ids: Tensor, encoded: dict, encoded_mask: Mask = None) -> Tensor:
        """Returns the logits of all steps at once, for teacher forcing.

        Args:
            target_ids: integer tensor (batch, time).
            encoded: the encoder's outputs.
            encoded_mask: bool tensor (batch, source).

        Returns:
            Logits (batch, time, vocabulary_size).
        """
        ...

    def start(
        self,
        encoded: dict,
        encoded_mask: Mask = None,
        num_beams: int = 1,
        max_length: int | None = None,
        cache_length: int | None = None,
    ) -> tuple[dict, Any]:
        """Prepares generation.

        Args:
            encoded: the encoder's outputs.
            encoded_mask: bool tensor (batch, source).
            num_beams: hypotheses per sequence.
            max_length: maximum number of steps.
            cache_length: number of steps that key/value caches have slots for; `max_length` by
                default.

        Returns:
            `(constants, state)`: what all steps and beams share, and the state before the first
            step, each leaf `(batch, beams, ...)`.
        """
        ...

    def grow(self, state: Any, constants: dict, length: Tensor) -> Any:
        """Returns the state with key/value caches for `length` steps.

        Args:
            state: from `start` or `step`.
            constants: from `start`.
            length: int or int32 scalar, more than the present number of slots, all of which are
                in use.
        """
        ...

    def step(
        self,
        ids: Tensor,
        position: Tensor,
        state: Any,
        constants: dict,
        return_weights: bool = False,
    ) -> tuple[Tensor, Any, Tensor | None]:
        """Computes one step of every beam.

        Args:
            ids: integer tensor (batch, beams), the last token of each beam.
            position: integer scalar, the number of tokens before it.
            state: from `start` or the previous step.
            constants: from `start`.
            return_weights: whether to return the attention weights.

        Returns:
            `(logits, state, weights)`: logits (batch, beams, vocabulary_size), the next state, and
            attention weights (batch, beams, source), or `None` unless `return_weights`.
        """
        ...


class Batch(NamedTuple):
    """Result of a preprocessor.

    Attributes:
        model_inputs: what the model reads: ids `(batch, length)` or pixels
            `(batch, height, width, 3)`.
        words: for a tagger, the words of each text.
        word_starts: for a tagger, bool `(batch, length)`, true where a word starts.
    """

    model_inputs: Tensor
    words: Any = None
    word_starts: Tensor = None


class Preprocessor(Protocol):
    """Converts raw inputs, texts or images, to model inputs, eagerly or in a graph.

    Attributes:
        item_name: what the inputs are, `"texts"` or `"images"`, for errors.
        input_name: name of the raw inputs of an exported signature.
        input_spec: specification of the raw inputs of an exported signature.
        model_input_spec: specification of the model inputs.
        allows_empty_batch: whether the graph of an export runs on an empty batch.
        tokenizers: the tokenizers.
    """

    item_name: str
    input_name: str
    allows_empty_batch: bool

    @property
    def input_spec(self) -> Any: ...

    @property
    def model_input_spec(self) -> Any: ...

    @property
    def tokenizers(self) -> Sequence[Any]: ...

    def __call__(self, inputs: Any, /) -> Batch:
        """Converts one batch."""
        ...

    def for_tflite(self) -> Any:
        """Returns a preprocessor of operations that TFLite has, `None` if TFLite lacks some."""
        ...

    def with_static_shape(self, static: Sequence[int], /) -> Any:
        """Returns a preprocessor whose model inputs have one shape, for an export."""
        ...

    def is_single(self, inputs: Any, /) -> bool:
        """Returns whether the argument is one input and not a list of inputs."""
        ...

    def encode_examples(self, inputs: Sequence[Any], /) -> list:
        """Converts any number of inputs, one example each, so that `len` is their length."""
        ...

    def pad_examples(self, examples: list, /) -> Batch:
        """Makes a batch of examples."""
        ...

    def samples(self, inputs: Sequence[Any] | None, /) -> list:
        """Returns the inputs on which an export is verified, with difficult ones added."""
        ...

    def compact_samples(self, samples: Sequence[Any], /) -> list:
        """Returns samples as they are recorded next to an export."""
        ...

    def normalize(self, inputs: Sequence[Any], /) -> Any:
        """Returns inputs as the signature `text` of a TFLite file takes them."""
        ...

    def describe(self, batch: Batch, /) -> dict[str, Tensor]:
        """Returns the outputs of the signature `details` that describe its inputs, in a graph."""
        ...


class Runner(Protocol):
    """Converts model inputs to ids and scores, or to probabilities.

    A runner has the strategy inside, since an exported file has it, too.

    Attributes:
        default_workers: number of threads that call the runner at the same time, unless the user
            chooses another; 1 if a call uses all cores.
    """

    default_workers: int

    def __call__(self, model_inputs: Tensor, details: bool = False) -> dict[str, Tensor]:
        """Returns the outputs by name; with `details` also attention weights, if there are any."""
        ...


class Postprocessor(Protocol):
    """Converts outputs of a runner to results, eagerly or in a graph.

    Attributes:
        tokenizers: the tokenizers.
    """

    @property
    def tokenizers(self) -> Sequence[Any]: ...

    def for_tflite(self) -> Any:
        """Returns a postprocessor of operations that TFLite has, `None` if TFLite lacks some."""
        ...

    def __call__(self, outputs: dict[str, Tensor], batch: Batch) -> list:
        """Returns one result for each input of the batch."""
        ...

    def summarize(self, result: Any) -> Any:
        """Returns the part of a result that calling a task returns."""
        ...

    def best(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the best result as the outputs of an exported signature, in a graph."""
        ...

    def all_results(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns all results without tokens and attention weights, in a graph."""
        ...

    def details(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns all results as the outputs of an exported signature, in a graph."""
        ...
