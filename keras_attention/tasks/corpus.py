"""Prediction for a corpus of many files, on several processes or machines, with Ray Data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_attention.tasks.task import Task
from keras_attention.text.files import read_lines
from keras_attention.utils.atomic_io import replace_file
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.optional_imports import require_extra
from keras_attention.utils.reading import errors_name_file
from keras_attention.utils.validation import check_positive


def predict_files(
    load: Callable[[], Task],
    sources: Sequence[str | Path],
    folder: str | Path,
    workers: int = 2,
    cpus_per_worker: float = 1,
    **batching: Any,
) -> list[Path]:
    """Writes the output of a task for each line of text files, by worker processes of Ray.

    Each file is the work of one worker at a time, in constant memory. Its output has the same name
    in `folder`, and one line for each line of the file, in order. The output gets its name when it
    is complete: a worker that is killed leaves none, and Ray gives the file to another one. Files
    that have an output are skipped, so that the same call continues an interrupted run. To use
    several processes for one large file, divide it first, for example with `split -l 10000`.

    Without a connection to a cluster (`ray.init(address=...)`), the workers run on this machine.
    The machines of a cluster must have `sources` and `folder` under the same path.

    Args:
        load: Function without arguments that returns the task; each worker calls it once. A
            `functools.partial(load_exported, folder)` for an export or of `load_task`.
        sources: Text files, one input per line; `.gz` is allowed.
        folder: Folder of the outputs; created if needed.
        workers: Number of worker processes.
        cpus_per_worker: Number of CPUs that Ray reserves for each worker.
        **batching: Arguments of `Task.predict_iterable`, such as `batch_tokens`.

    Returns:
        The paths of the outputs, in the order of `sources`.

    Raises:
        ValueError: If two sources have the same name, `folder` is that of a source, `workers` is
            not positive, a file cannot be read, or the task fails on an input; the message names
            the file and the number of the input. The outputs of other files remain.
        ImportError: If Ray is not installed.
    """
    require_extra("ray", "keras_attention.tasks.predict_files")
    check_positive("workers", workers)
    outputs = output_paths(sources, folder)
    missing = [
        {"source": str(Path(source).absolute()), "output": str(output.absolute())}
        for source, output in zip(sources, outputs, strict=True)
        if not output.exists()
    ]
    if not missing:
        return outputs
    Path(folder).mkdir(parents=True, exist_ok=True)
    import ray

    started_here = not ray.is_initialized()
    try:
        # at most 64 units of work per worker, of several files if there are more
        blocks = min(len(missing), 64 * workers)
        files = ray.data.from_items(missing, override_num_blocks=blocks)
        done = files.map(
            FileWorker,  # type: ignore[arg-type]  # a class, whose instances are called
            fn_constructor_args=(load, batching),
            concurrency=min(workers, len(missing)),
            num_cpus=cpus_per_worker,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise ValueError(row["error"])
    finally:
        if started_here:
            ray.shutdown()
    return outputs


def output_paths(sources: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Returns the path of the output of each source.

    Raises:
        ValueError: If two are the same, or `folder` is that of a source.
    """
    paths = [Path(folder) / Path(source).name.removesuffix(".gz") for source in sources]
    if len({*paths}) < len(paths):
        raise ValueError(
            "`sources` must have different names, which those of their outputs are. Received: "
            f"sources={[str(source) for source in sources]}"[:500]
        )
    for source in sources:
        if Path(source).absolute().parent.resolve() == Path(folder).absolute().resolve():
            raise ValueError(
                f"`folder` must not be that of a source. Received: {str(source)!r}, "
                f"folder={str(folder)!r}"
            )
    return paths


class FileWorker:
    """Function of a worker process: writes the output of one file.

    Args:
        load: Returns the task.
        batching: Arguments of `Task.predict_iterable`.
    """

    def __init__(self, load: Callable[[], Task], batching: dict[str, Any]):
        self.task = load()
        self.batching = batching

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        error = ""
        if not Path(row["output"]).exists():  # Ray repeats a unit of work of a killed worker
            try:
                self.write(row["source"], Path(row["output"]))
            except ValueError as each:
                error = str(each)
        return {**row, "error": error}

    def write(self, source: str, output: Path) -> None:
        """Writes the output of one file; raises a `ValueError` that names the file."""
        with (
            explain_full_disk("The output", output.parent),
            replace_file(output) as partial,
            open(partial, "w", encoding="utf-8", newline="\n") as file,
            errors_name_file(source, "The task must process each line"),
        ):
            lines = read_lines(source)
            for result in self.task.predict_iterable(lines, workers=1, **self.batching):
                summary = str(self.task.postprocessor.summarize(result))
                print(" ".join(summary.splitlines()), file=file)
