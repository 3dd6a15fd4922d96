"""Fixtures of the tests of exports."""

import contextlib
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def different_model(monkeypatch) -> Callable[..., contextlib.AbstractContextManager]:
    """A context in which exports of one task write the graphs of another task."""

    @contextlib.contextmanager
    def exporting(other) -> Iterator[None]:
        from keras_attention.tasks.task import Task

        build = Task.signatures
        with monkeypatch.context() as patch:
            patch.setattr(Task, "signatures", lambda task, *args, **kw: build(other, *args, **kw))
            yield

    return exporting
