"""The versions of a SavedModel that a server has loaded."""

import collections
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from keras_attention.export.saved_model.c_api import Session
from keras_attention.export.saved_model.serving_files import model_name, read_warmup_requests
from keras_attention.export.saved_model.versions import list_versions
from keras_attention.serving.errors import RequestError


class ServedModel:
    """The versions in a base path of TensorFlow Serving, loaded with TensorFlow's C API.

    The latest version is served, and those that have a label. `refresh` loads new versions, after
    which requests get the new one, and releases versions that are no longer served once their
    requests have ended. A version is served after its warm-up requests have run. One that cannot
    be loaded is reported by `status`; the others are served.

    Args:
        folder: the base path, which an export wrote.
        name: name in URLs. Defaults to the name of the folder.
        labels: numbers of versions by label.

    Raises:
        ValueError: If the folder has no version, or a version cannot be loaded.
    """

    def __init__(
        self, folder: str | Path, name: str | None = None, labels: dict[str, int] | None = None
    ):
        self.folder = Path(folder)
        self.name = name or model_name(self.folder.resolve())
        self.labels = dict(labels or {})
        self._sessions: dict[int, Session] = {}
        self._errors: dict[int, str] = {}
        self._requests: collections.Counter[Session] = collections.Counter()  # that run now
        self._lock = threading.Lock()  # of these three
        versions = self._list_versions()
        missing = sorted({*self.labels.values()} - {*versions})
        if not versions or missing:
            raise ValueError(
                "`folder` must have numbered versions of a SavedModel, and those with a label. "
                f"Received: folder={str(folder)!r} with versions {versions}, labels={self.labels}"
            )
        self.refresh()
        if self._errors:
            self.close()
            raise ValueError(next(iter(self._errors.values())))

    def refresh(self) -> None:
        """Loads the versions that are to be served, then releases the others.

        One thread at a time may call it.
        """
        versions = self._list_versions()
        wanted = {*versions[-1:], *self.labels.values()} & {*versions}
        for version in sorted(wanted - self._sessions.keys() - self._errors.keys()):
            self._load(version)
        if not wanted & self._sessions.keys():
            return  # what is loaded is served until there is something else
        with self._lock:
            self._errors = {v: error for v, error in self._errors.items() if v in versions}
        self._release(self._sessions.keys() - wanted)

    @contextmanager
    def session(
        self, version: int | None = None, label: str | None = None
    ) -> Iterator[tuple[int, Session]]:
        """Yields the number and session of a version, which stays loaded meanwhile.

        Args:
            version: its number; `None` is the latest that is loaded.
            label: its label, in place of the number.

        Raises:
            RequestError: If it is not loaded.
        """
        if label is not None:
            if label not in self.labels:
                raise RequestError(400, f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        with self._lock:
            number = max(self._sessions, default=0) if version is None else version
            session = self._sessions.get(number)
            if session is None:
                which = f"Latest({self.name})"
                if version is not None:
                    which = f"Specific({self.name}, {version})"
                raise RequestError(404, f"Servable not found for request: {which}")
            self._requests[session] += 1
        try:
            yield number, session
        finally:
            with self._lock:
                self._requests[session] -= 1
                is_unused = not self._requests[session]
                if is_unused:
                    del self._requests[session]
                is_released = session not in self._sessions.values()
            if is_unused and is_released:
                session.close()

    def status(self, version: int | None = None, label: str | None = None) -> dict:
        """Returns the states of the versions as TensorFlow Serving reports them.

        Raises:
            RequestError: If there is no such version.
        """
        if label is not None:
            with self.session(label=label) as (version, _):
                pass
        with self._lock:
            states = {
                **{number: ("END", "UNKNOWN", error) for number, error in self._errors.items()},
                **{number: ("AVAILABLE", "OK", "") for number in self._sessions},
            }
        if version is not None and version not in states:
            raise RequestError(404, f"Could not find version {version} of model {self.name}")
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": code, "error_message": message},
                }
                for number, (state, code, message) in sorted(states.items(), reverse=True)
                if version in (None, number)
            ]
        }

    def close(self) -> None:
        """Releases all versions once their requests have ended."""
        self._release({*self._sessions})

    def _release(self, versions: Set[int]) -> None:
        with self._lock:
            sessions = [self._sessions.pop(version) for version in versions]
            unused = [session for session in sessions if not self._requests[session]]
        for session in unused:  # the last request closes the others
            session.close()

    def _load(self, version: int) -> None:
        folder = self.folder / str(version)
        try:
            session = Session(folder)
            for signature, inputs in read_warmup_requests(folder):
                session.run(signature, inputs)
        except (ValueError, OSError) as error:
            self._errors[version] = str(error)
            return
        with self._lock:
            self._sessions[version] = session

    def _list_versions(self) -> list[int]:
        return list_versions(self.folder) if self.folder.is_dir() else []
