"""Signatures of the exports of tasks.

A SavedModel has these signatures. `serving_default`, `details` and `with_options` take `text`
`(batch,)` or, of a captioner, `image_bytes` `(batch,)`, the bytes of JPEG or PNG files. The others
take `source`: ids int32 `(batch, length)` or pixels uint8 `(batch, height, width, 3)`.

| signature | outputs of `Translator`, `TextGenerator` and `Captioner` |
| --- | --- |
| `serving_default` | `text`, `score` `(batch,)`: the best hypothesis |
| `details` | `text`, `score` `(batch, n)`, `source_tokens` `(batch, source)`, `target_tokens` `(batch, n, length)`, `attention` `(batch, n, length, source)`; of a captioner `(batch, n, length, rows, columns)` and no `source_tokens` |
| `with_options` | `text`, `score` `(batch, n)` |
| `ids` | `ids` int32 `(batch, n, length)`, `scores` `(batch, n)` |
| `ids_details` | also `attention` |
| `ids_with_options` | as `ids` |

| signature | outputs of `TextClassifier` |
| --- | --- |
| `serving_default` | `label`, `probability` `(batch,)`: the most probable label |
| `details` | `label`, `probability` `(batch, labels)`, sorted, and `source_tokens` `(batch, source)` |
| `ids` | `probabilities` `(batch, labels)`, in the order of `labels` in `export.json` |

| signature | outputs of `TextTagger` |
| --- | --- |
| `serving_default` | `word`, `tag`, `probability` `(batch, words)` |
| `details` | `source_tokens` and bool `begins_word` `(batch, source)`; `tag`, `probability` `(batch, source, tags)`, sorted |
| `ids` | `probabilities` `(batch, source, tags)`, in the order of `labels` in `export.json` |

`with_options` and `ids_with_options` also take the options of the strategy, each `(batch,)` and
each optional. Every row gets the result of a strategy with its options.

In a TFLite file `ids` is named `serving_default` and `ids_details`, which can be left out, is named
`details`. On demand it also has `with_options` (as `ids_with_options`), `encode` and `decode`, and
`text`, which takes `text` or, of a captioner, the pixels `source`, and returns `text` and `score`
`(batch, n)`, or `label` and `probability` `(batch, labels)`. Batch and source length are free
unless the export is static. Tokens are padded with 0, strings with empty ones.

An ONNX file has one function, with the inputs and outputs of `ids_details`, or of `ids` if the task
does not generate. Of `tflite_steps`, `ctranslate2`, `transformers_js` and `litert_lm` the loop outside of the
file is compared with `ids`.
"""  # noqa: E501

from collections.abc import Callable
from typing import Any

from keras_attention.export.signatures import (
    Comparison,
    Signature,
    trace_once,
    with_defaults,
)
from keras_attention.export.tflite.step_signatures import step_signatures
from keras_attention.tasks.comparisons import comparison_for
from keras_attention.tasks.task import Task
from keras_attention.text.preprocessors import TextPreprocessor
from keras_attention.types import Batch


def saved_model_signatures(task: Task, tokenizer: bool = True) -> list[Signature]:
    """Returns the signatures of a SavedModel.

    Args:
        task: the task.
        tokenizer: whether to include those that take raw inputs.
    """
    builder = _SignatureBuilder(task)
    by_ids = builder.of_ids("ids", "ids_details", "ids_with_options")
    return [*builder.of_raw_inputs(), *by_ids] if tokenizer else by_ids


def tflite_signatures(
    task: Task,
    details: bool = True,
    steps: bool = False,
    options: bool = False,
    text: bool = False,
) -> list[Signature]:
    """Returns the signatures of a TFLite file.

    Args:
        task: the task.
        details: whether to include `details`.
        steps: whether to include `encode` and `decode`.
        options: whether to include `with_options`.
        text: whether to include `text`.

    Raises:
        ValueError: If one of these does not suit the task or its static inputs.
    """
    builder = _SignatureBuilder(task)
    for name, included in (("steps", steps), ("options", options)):
        if included and not builder.generates:
            raise ValueError(
                f"`{name}` is for tasks that generate text. "
                f"Received: {name}=True for a {type(task).__name__}"
            )
    signatures = builder.of_ids(
        "serving_default",
        "details" if details else None,
        "with_options" if options else None,
    )
    if text and builder.static:
        raise ValueError(
            "`text` must not be combined with `static`: runtimes that need static shapes have no "
            "strings. Received: text=True and `source` of shape "
            f"{tuple(builder.source_spec['source'].shape)}"
        )
    if steps:
        model, strategy = task.model, builder.strategy
        signatures += step_signatures(model, strategy, task.preprocessor.model_input_spec)
    if text:
        signatures.append(builder.of_normalized_text())
    return signatures


def ids_signatures(task: Task) -> list[Signature]:
    """Returns the signature that says how ids are compared, for runtimes with a loop of theirs."""
    return _SignatureBuilder(task).of_ids("ids", "ids", None)[-1:]


def onnx_signatures(task: Task) -> list[Signature]:
    """Returns the only signature of an ONNX file, that of all outputs."""
    return _SignatureBuilder(task).of_ids("ids", "ids_details", None)[-1:]


class _SignatureBuilder:
    """Builds signatures that share the graphs of the model.

    Args:
        task: the task, with a `ModelRunner`.
    """

    def __init__(self, task: Task):
        self.task = task
        self.preprocessor, self.postprocessor = task.preprocessor, task.postprocessor
        runner = task.model_runner("signatures")
        strategy = runner.strategy
        self.strategy: Any = strategy
        self.generates = strategy is not None
        self.comparison = comparison_for(task.postprocessor)
        self.source_spec = {"source": task.preprocessor.model_input_spec}
        self.static = task.preprocessor.model_input_spec.shape.is_fully_defined()
        self.graph = trace_once(runner.graph(static=self.static), self.source_spec)
        self.details_graph = self.graph
        if strategy is not None:
            self.details_graph = trace_once(
                runner.graph(details=True, static=self.static), self.source_spec
            )
            self.options_spec = with_defaults(
                task.preprocessor.model_input_spec, strategy.options()
            )
            self.options_graph = trace_once(runner.graph(static=self.static), self.options_spec)

    def of_ids(self, default: str, details: str | None, options: str | None) -> list[Signature]:
        """Returns the signatures that take model inputs, by these names.

        Args:
            default: name of the one that returns `ids` and `scores`, or `probabilities`.
            details: name of the one that also returns `attention`, for tasks that generate; `None`
                leaves it out.
            options: name of the one that takes options, for tasks that generate; `None` leaves it
                out.
        """
        compared = Comparison(self.comparison.predictions, recorded=self.comparison.recorded)
        if not self.generates:
            return [Signature(default, self.graph, self.source_spec, compared)]
        of_default = Comparison(same_as=details) if details else compared
        signatures = [Signature(default, self.graph, self.source_spec, of_default)]
        if details:
            signatures.append(Signature(details, self.details_graph, self.source_spec, compared))
        if options:
            comparison = Comparison(same_as=default)
            signatures.append(
                Signature(
                    options,
                    self.options_graph,
                    self.options_spec,
                    comparison,
                    self.strategy.options,
                )
            )
        return signatures

    def of_raw_inputs(self) -> list[Signature]:
        """Returns the signatures that take texts or the bytes of images."""
        preprocessor, postprocessor = self.preprocessor, self.postprocessor
        spec = {preprocessor.input_name: preprocessor.input_spec}
        uses_text = bool(preprocessor.tokenizers or postprocessor.tokenizers)

        def details(outputs, batch):
            return {**preprocessor.describe(batch), **postprocessor.details(outputs, batch)}

        best = self._from_raw(self.graph, postprocessor.best)
        all_details = self._from_raw(self.details_graph, details)
        best_comparison = Comparison(same_as="details", expected=self.comparison.best_of_details)
        compared = Comparison(
            self.comparison.details_predictions, recorded=self.comparison.recorded_details
        )
        signatures = [
            Signature("serving_default", best, spec, best_comparison, text_operations=uses_text),
            Signature("details", all_details, spec, compared, text_operations=uses_text),
        ]
        if self.generates:
            defaults = self.strategy.options
            signatures.append(
                Signature(
                    "with_options",
                    self._from_raw(self.options_graph, postprocessor.all_results),
                    with_defaults(preprocessor.input_spec, defaults()),
                    Comparison(same_as="details"),
                    defaults,
                    text_operations=uses_text,
                )
            )
        return signatures

    def of_normalized_text(self) -> Signature:
        """Returns TFLite's signature `text`.

        Raises:
            ValueError: If TFLite lacks operations that the task needs.
        """
        preprocessor = self.preprocessor.for_tflite()
        postprocessor = self.postprocessor.for_tflite()
        if preprocessor is None or postprocessor is None:
            tokenizers = (*self.preprocessor.tokenizers, *self.postprocessor.tokenizers)
            raise ValueError(
                "`text` is for translators, captioners and classifiers whose tokenizers TFLite has "
                "operations for: `WordPieceTokenizer`, `CharacterTokenizer`, and SentencePiece "
                "models of type unigram without language codes. Received: text=True for a "
                f"{type(self.task).__name__} with {[type(each).__name__ for each in tokenizers]}"
            )
        reads_text = preprocessor.input_name == "text"
        spec = preprocessor.input_spec if reads_text else preprocessor.model_input_spec

        def function(inputs):
            if reads_text:
                assert isinstance(preprocessor, TextPreprocessor)
                batch = preprocessor.encode_normalized(inputs["text"])
            else:
                batch = Batch(inputs["source"])
            outputs = self.graph({"source": batch.model_inputs})
            return postprocessor.all_results(outputs, batch)

        comparison = Comparison(
            same_as="serving_default",
            view=self.comparison.decode,
            expected=self.comparison.text_outputs,
        )
        return Signature("text", function, {spec.name: spec}, comparison, text_operations=True)

    def _from_raw(self, graph: Callable, postprocess: Callable) -> Callable:
        """Returns a function from raw inputs and options to outputs."""

        def function(inputs):
            inputs = dict(inputs)
            batch = self.preprocessor(inputs.pop(self.preprocessor.input_name))
            outputs = graph({"source": batch.model_inputs, **inputs})
            return postprocess(outputs, batch)

        return function
