"""`keras-attention serve`: TensorFlow Serving's REST API for an exported SavedModel."""

import argparse

from keras_attention.cli.printable import print_output


def run(options: argparse.Namespace) -> None:
    """Serves a SavedModel until Ctrl-C."""
    from keras_attention.serving import ServedModel, serve

    model = ServedModel(options.folder, options.model_name, dict(options.label))
    with model.session() as (version, _):
        pass

    def announce(port: int) -> None:
        url = f"http://{options.host}:{port}/v1/models/{model.name}"
        print_output(f"Serving version {version} of {model.name} at {url}; Ctrl-C ends it")

    serve(
        model,
        options.host,
        options.rest_api_port,
        announce,
        max_concurrency=options.max_concurrency,
        max_body_bytes=options.max_body_bytes,
    )
