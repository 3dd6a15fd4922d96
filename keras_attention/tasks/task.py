"""Base of all tasks: a preprocessor, a runner and a postprocessor."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, Self

import keras

from keras_attention.generation import Strategy
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.tasks.bulk import BulkOptions, BulkPredictor
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.saved_files import check_task_config, load_model
from keras_attention.text import Tokenizer
from keras_attention.types import Postprocessor, Preprocessor, Runner
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import read_manifest, write_manifest
from keras_attention.utils.reading import errors_name_file

TASK_FORMAT = 2  # of `task.json`


class Task:
    """A complete pipeline: raw inputs to model inputs, to model outputs, to results.

    Calling a task with one input returns one result, calling it with a list returns a list. A
    loaded export is the same class with a runner of the file; see `load_exported`.

    A subclass defines how its parts are saved and loaded (`save_parts`, `load_parts`), whether a
    model fits (`check_model`), and how the reports of its exports describe it (`metadata`).

    Args:
        preprocessor: raw inputs to a `Batch` of model inputs.
        runner: model inputs to ids and scores, or to probabilities.
        postprocessor: outputs of the runner to results.
    """

    def __init__(self, preprocessor: Preprocessor, runner: Runner, postprocessor: Postprocessor):
        self.preprocessor = preprocessor
        self.runner = runner
        self.postprocessor = postprocessor
        if isinstance(runner, ModelRunner):
            self.check_model(runner.model)

    @classmethod
    def from_parts(
        cls, preprocessor: Preprocessor, runner: Runner, postprocessor: Postprocessor
    ) -> Any:
        """Builds a task of this class from its three parts."""
        task = cls.__new__(cls)
        Task.__init__(task, preprocessor, runner, postprocessor)
        return task

    def check_model(self, model: keras.Model) -> None:
        """Raises a `ValueError` unless the model fits the other parts."""
        raise NotImplementedError("Task is abstract.")

    def save_parts(self, folder: Path) -> dict[str, Any]:
        """Writes the tokenizers to a folder; returns the configuration of the other parts."""
        raise NotImplementedError("Task is abstract.")

    @classmethod
    def load_parts(cls, folder: Path, config: dict[str, Any]) -> tuple[Preprocessor, Postprocessor]:
        """Loads the parts that `save_parts` wrote."""
        raise NotImplementedError("Task is abstract.")

    @property
    def metadata(self) -> dict[str, Any]:
        """Description of the task in the reports of its exports."""
        return {}

    @property
    def model(self) -> keras.Model:
        """The Keras model.

        Raises:
            ValueError: If the task runs an exported file.
        """
        return self.model_runner("model").model

    def model_runner(self, needed_for: str) -> ModelRunner:
        """Returns the runner if it runs a Keras model.

        Args:
            needed_for: what needs the model, for the error.

        Raises:
            ValueError: If the task runs an exported file.
        """
        if not isinstance(self.runner, ModelRunner):
            raise ValueError(
                f"`{needed_for}` needs the Keras model, which an exported file does not contain. "
                f"Load the saved task with `load_task`. Received: runner={self.runner!r}"
            )
        return self.runner

    def __call__(self, inputs: Any) -> Any:
        """Returns the result for one input, or a list of results for a list of inputs."""
        if self.preprocessor.is_single(inputs):
            return self([inputs])[0]
        return [self.postprocessor.summarize(result) for result in self.predict(inputs)]

    def predict(
        self, inputs: Sequence[Any], batch_size: int = 32, progress: bool = False
    ) -> list[Any]:
        """Returns the complete result for each input.

        Args:
            inputs: any number of inputs.
            batch_size: number of inputs that are run at once; inputs of similar length are run
                together.
            progress: whether to show a progress bar.

        Raises:
            ValueError: If `inputs` is not a list, or the task fails on an input.
        """
        results = self.predict_iterable(
            inputs, batch_size, None, window_size=max(1, len(inputs)), progress=progress
        )
        return list(results)

    def predict_iterable(
        self,
        inputs: Iterable[Any],
        batch_size: int = 64,
        batch_tokens: int | None = 2048,
        window_size: int = 4096,
        workers: int | None = None,
        progress: bool = False,
    ) -> Iterator[Any]:
        r"""Yields the complete result for each input, in order and in constant memory.

        Inputs are read in windows. Those of a window are sorted by length, so that a batch has
        little padding, and its results are put back in order. At most two windows are in memory.

        Args:
            inputs: an iterable of any length, such as the lines of a file.
            batch_size: maximum number of inputs that are run at once.
            batch_tokens: maximum number of tokens that are run at once, padding included, so that
                batches of long inputs are smaller. `None` sets no limit.
            window_size: number of inputs that are sorted together.
            workers: number of threads, each of which runs a batch. `None` is the runner's
                `default_workers`: one per core for a TFLite file, otherwise one.
            progress: whether to show a progress bar.

        Yields:
            For each input, an item of the result of `predict`.

        Raises:
            ValueError: If `inputs` is a single input, a number is not positive, or the task fails
                on an input; the message has its number, counted from 1.

        Example:

        ```python
        with open("source.txt") as lines, open("target.txt", "w") as output:
            for hypotheses in translator.predict_iterable(line.rstrip("\n") for line in lines):
                print(hypotheses[0].text, file=output)
        ```
        """
        if self.preprocessor.is_single(inputs):
            raise ValueError(
                f"`{self.preprocessor.item_name}` must be a list. Received: {repr(inputs)[:80]}"
            )
        if workers is None:
            workers = self.runner.default_workers
        options = BulkOptions(batch_size, batch_tokens, window_size, workers)
        predictor = BulkPredictor(self.preprocessor, self.runner, self.postprocessor, options)
        target = len(inputs) if isinstance(inputs, Sized) else None
        bar = keras.utils.Progbar(target, verbose=int(progress), unit_name="input")
        return predictor.predict(inputs, bar)

    def save(self, folder: str | Path, training: dict[str, Any] | None = None) -> None:
        """Writes the task to a folder: `model.keras`, the tokenizers and `task.json`.

        `task.json` has the SHA-256 of every file, which `load` checks. An earlier task there is
        replaced only once everything is written.

        Args:
            folder: the folder, new, empty or with a task.
            training: content of a file `training.json`, such as the score. `None` writes none.

        Raises:
            ValueError: If the folder holds other files, or the task runs an exported file.
            OSError: If the disk is full.
        """
        runner = self.model_runner("save")
        check_replaceable(folder, "task.json")
        with explain_full_disk("A saved task", folder), replace_folder(folder) as new:
            runner.model.save(new / "model.keras")
            config = {"task": type(self).__name__, "format": TASK_FORMAT, **self.save_parts(new)}
            if runner.strategy is not None:
                config["strategy"] = keras.saving.serialize_keras_object(runner.strategy)
            if training is not None:
                write_json(new / "training.json", training)
            write_manifest(new / "task.json", config)

    @classmethod
    def load(cls, folder: str | Path) -> Any:
        """Loads a task that `save` wrote.

        Args:
            folder: the folder.

        Raises:
            ValueError: If the folder holds no task of this class and format, or a file has changed
                since it was saved.
        """
        return cls._load(Path(folder))

    @classmethod
    def _load(
        cls,
        folder: Path,
        strategy: Strategy | None = None,
        config: dict[str, Any] | None = None,
    ) -> Any:
        """Loads a task; `config` is the contents of `task.json`, if they have been read."""
        if config is None:
            config = read_manifest(folder / "task.json")
        if (config.get("task"), config.get("format")) != (cls.__name__, TASK_FORMAT):
            raise ValueError(
                f"`folder` must hold a {cls.__name__} saved in format {TASK_FORMAT}. "
                f"Received: {str(folder)!r} with {_describe(config)}"
            )
        check_task_config(config, folder / "task.json")
        model = load_model(folder)
        with errors_name_file(folder, f"`folder` must hold a complete {cls.__name__}"):
            if strategy is None and "strategy" in config:
                strategy = keras.saving.deserialize_keras_object(config["strategy"])
                check_saved_strategy(strategy, model.decoder)
            preprocessor, postprocessor = cls.load_parts(folder, config)
            return cls.from_parts(preprocessor, ModelRunner(model, strategy), postprocessor)

    def with_static_inputs(self, static: Sequence[int]) -> Self:
        """Returns a task with the same model whose exports take inputs of one shape.

        Args:
            static: batch size and, of texts, length.

        Raises:
            ValueError: If `static` has other sizes, or a length above the task's maximum length.
        """
        preprocessor = self.preprocessor.with_static_shape(static)
        return self.from_parts(preprocessor, self.runner, self.postprocessor)

    def signatures(self, format: str = "saved_model", **options: bool) -> list:
        """Returns the signatures of an export.

        Args:
            format: see `export`.
            **options: those of `export` that add or remove signatures.

        Returns:
            A list of `keras_attention.export.signatures.Signature`.

        Raises:
            ValueError: If the format is unknown, an option does not suit the task, or the task runs
                an exported file.
        """
        from keras_attention.tasks.export import find_format

        return find_format(format).signatures(self, **options)

    def export(
        self,
        folder: str | Path,
        format: str = "saved_model",
        samples: Sequence[Any] | None = None,
        record_samples: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        """Writes the task for a runtime without Python, runs it there, and compares the results.

        Args:
            folder: for `"saved_model"` TF Serving's base path, which gets the next version, for
                the others the folder for the model and the tokenizers.
            format: `"saved_model"`, `"tflite"`, `"tflite_steps"`, `"ctranslate2"`, `"onnx"`,
                `"transformers_js"` or `"litert_lm"`.
            samples: inputs on which to verify the export; `None` makes some.
            record_samples: whether the first eight may be written into the export, with their
                outputs, for its later verification and as examples. `False` writes made samples in
                their place; do so if the export is passed on and the samples must not be.
            **options: of the format, see below.

        With `format="saved_model"`:

        - `tokenizer`: `False` writes only the signatures that take ids, for a server without the
          operations of TensorFlow Text. Defaults to `True`.

        With `format="tflite"`:

        - `weights`, `references`, `allow_loss`: see `export.tflite.writer.export_tflite`.
        - `static`: `(batch, source_length)`, or `(batch,)` of a captioner, makes all shapes of the
          file static, as LiteRT's `CompiledModel` needs them; longer sources are truncated. Without
          it, batch and length are free and the file needs LiteRT's `Interpreter`.
        - `details`: `False` leaves out the signature `details`, and with it attention weights; the
          export takes less time, and the file is smaller. Defaults to `True`.
        - `steps`: `True` adds the signatures `encode` and `decode`, for an app that runs the
          decoding loop itself; see `export.tflite.step_signatures`.
        - `options`: `True` adds the signature `with_options`, which also takes the strategy's
          options.
        - `text`: `True` adds the signature `text`, from strings in the tokenizer's normal form, or
          from pixels, to strings; for translators, captioners and classifiers with a WordPiece,
          character, or unigram SentencePiece tokenizer. It runs where TensorFlow Text's operations
          are registered.

        With `format="tflite_steps"`, for tasks that generate text, `encode` and `decode` alone:

        - `static`, which must be given: as above.
        - `weights`, `references`, `allow_loss`: see `export.tflite.step_writer.export_steps`.

        With `format="ctranslate2"`, for Transformers of `Translator` and `TextGenerator`:

        - `weights`, `references`, `allow_loss`: see `export.ctranslate2.writer.export_ctranslate2`.

        With `format="litert_lm"`, for a `TextGenerator`:

        - `prefill_lengths`, `cache_length`, `weights`, `references`, `allow_loss`: see
          `export.litert_lm.writer.export_litert_lm`.

        With `format="transformers_js"`, for a `Translator` with a Transformer or a
        `TextGenerator`:

        - `weights`, `references`, `allow_loss`: see
          `export.transformers_js.writer.export_transformers_js`.

        `format="onnx"` has no options.

        See `tasks.signatures` for the inputs and outputs of all signatures.

        Returns:
            The contents of the export's `verification.json`, and `path`, the folder of the export.

        Raises:
            ValueError: If the format is unknown, an option does not suit the task, Keras does not
                use TensorFlow, or the folder holds other files.
            ExportError: If the export disagrees with the task; it is deleted.
        """
        from keras_attention.tasks.export import export_task

        return export_task(self, folder, format, samples, record_samples, **options)


def _describe(config: dict[str, Any]) -> str:
    return f"task={config.get('task')!r}, format={config.get('format')!r}"[:200]


def check_vocabulary_size(name: str, tokenizer: Tokenizer, vocabulary_size: int) -> None:
    """Raises a `ValueError` unless the tokenizer has as many tokens as the model."""
    if tokenizer.vocabulary_size != vocabulary_size:
        raise ValueError(
            f"`{name}` must have the model's {vocabulary_size} tokens. "
            f"Received: {tokenizer.vocabulary_size} tokens"
        )
