"""The server: URLs of TensorFlow Serving's REST API, answered by a `ServedModel`."""

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from keras_attention.serving.errors import RequestError, error_of_session
from keras_attention.serving.messages import (
    describe_signatures,
    format_outputs,
    parse_predict_request,
)
from keras_attention.serving.model import ServedModel

try:
    import anyio
    import anyio.to_thread
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise ImportError(
        "`keras_attention.serving` needs the extra `serve`: "
        'pip install "attention-for-keras[serve]"'
    ) from error

MAX_BODY_BYTES = 64 * 2**20
REFRESH_SECONDS = 1.0
PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)"
    r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(?P<method>:predict|:classify|:regress|/metadata)?",
    re.IGNORECASE,
)


def build_app(
    models: Sequence[ServedModel],
    max_concurrency: int | None = None,
    max_waiting: int = 100,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Starlette:
    """Builds the ASGI application that serves models.

    Args:
        models: the models, of different names. The application loads their new versions while it
            runs, and closes them when it ends.
        max_concurrency: number of requests that run at the same time. Defaults to the number of
            processors.
        max_waiting: number of further requests that wait; those beyond get the status 503.
        max_body_bytes: size of the body of a request; larger ones get the status 413.

    Returns:
        The application, for `uvicorn` or another ASGI server.

    References:
        [RESTful API of TensorFlow Serving](https://www.tensorflow.org/tfx/serving/api_rest)

    Example:

    ```python
    app = build_app([ServedModel("serving/dates"), ServedModel("serving/de-en")])
    ```
    """
    concurrency = max_concurrency or os.cpu_count() or 1
    by_name = {model.name: model for model in models}
    limiter = anyio.CapacityLimiter(concurrency)
    count = 0  # of the requests that run or wait; changed in the event loop only

    async def answer(request: Request) -> Response:
        nonlocal count
        try:
            body = await _read_body(request, max_body_bytes)
            handle = _handler(by_name, request.method, request.url.path, body)
            if count >= concurrency + max_waiting:
                raise RequestError(503, f"The server is busy with {count} requests")
            count += 1
            try:
                content = await anyio.to_thread.run_sync(handle, limiter=limiter)
            finally:
                count -= 1
        except RequestError as error:
            content = json.dumps({"error": error.message})
            return Response(content, error.status, media_type="application/json")
        return Response(content, media_type="application/json")

    return Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])],
        lifespan=_refresh_while_running(models),
    )


def serve(
    model: ServedModel,
    host: str = "127.0.0.1",
    port: int = 8501,
    on_start: Callable[[int], None] | None = None,
    **options: Any,
) -> None:
    """Serves a model until the process gets SIGINT or SIGTERM.

    Args:
        model: the model.
        host: address to listen at. The default is reached from this machine only.
        port: TCP port; 0 is a free one.
        on_start: called with the port once the server listens.
        **options: limits, as `build_app` takes them.

    Raises:
        OSError: If the port cannot be used.
    """
    app = build_app([model], **options)
    with socket.create_server((host, port), backlog=2048) as listener:
        if on_start is not None:
            on_start(listener.getsockname()[1])
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


async def _read_body(request: Request, max_bytes: int) -> bytes:
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                raise RequestError(
                    413, f"The body of a request may have {max_bytes} bytes, and this one has more"
                )
            parts.append(part)
    except ClientDisconnect:
        raise RequestError(400, "The client closed the connection") from None
    return b"".join(parts)


def _handler(
    models: dict[str, ServedModel], method: str, path: str, body: bytes
) -> Callable[[], str]:
    """Returns the function that computes the response to a request."""
    match = PATH.fullmatch(path)
    if match is None or method != ("POST" if (match["method"] or "").startswith(":") else "GET"):
        raise RequestError(400, f"Malformed request: {method} {path}")
    version = int(match["version"]) if match["version"] else None
    choice: dict[str, Any] = {"version": version, "label": match["label"]}
    name, kind = match["model"], (match["method"] or "").lower()
    if name not in models:
        message = f"Servable not found for request: Latest({name})"
        if not kind:
            message = f"Could not find any versions of model {name}"
        raise RequestError(404, message)
    if kind in (":classify", ":regress"):
        raise RequestError(
            400,
            f"Expected {kind[1:]} signature method_name to be tensorflow/serving/{kind[1:]}. "
            "Was: tensorflow/serving/predict",
        )
    model = models[name]
    if not kind:
        return lambda: json.dumps(model.status(**choice), indent=1)
    if kind == "/metadata":
        return lambda: _metadata(model, choice)
    return lambda: _predict(model, choice, body)


def _metadata(model: ServedModel, choice: dict) -> str:
    with model.session(**choice) as (version, session):
        return describe_signatures(model.name, version, session.signatures)


def _predict(model: ServedModel, choice: dict, body: bytes) -> str:
    with model.session(**choice) as (_, session):
        request = parse_predict_request(body, session.signatures)
        try:
            outputs = session.run(request.signature, request.inputs)
        except ValueError as error:
            raise error_of_session(error) from None
        return format_outputs(outputs, request.has_rows)


def _refresh_while_running(models: Sequence[ServedModel]) -> Callable:
    """Returns the application's lifespan, in which a thread loads new versions."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        stop = threading.Event()

        def refresh():
            while not stop.wait(REFRESH_SECONDS):
                for model in models:
                    with contextlib.suppress(OSError):  # the folder changes meanwhile
                        model.refresh()

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            await anyio.to_thread.run_sync(thread.join)
            for model in models:
                model.close()

    return lifespan
