"""Serves a page with an export: that of this folder with a TFLite file, or another one.

WebAssembly has threads only on pages that are cross-origin isolated, which takes the two headers
below. Run `npm install` in the folder of the page first; it fetches LiteRT.js or transformers.js.

    python examples/web/serve.py saved_models/dates/tflite-int8
    python examples/web/serve.py web/en-de --page examples/transformers_js
"""

import argparse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGE = Path(__file__).parent
MODEL_PREFIX = "/model/"


class Handler(SimpleHTTPRequestHandler):
    """Serves the folder of a page, and the export at `/model/`."""

    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *args, page: Path, model: Path, **kwargs):
        self.model = model
        super().__init__(*args, directory=str(page), **kwargs)

    def translate_path(self, path):
        if not unquote(urlsplit(path).path).startswith(MODEL_PREFIX):
            return super().translate_path(path)
        page, self.directory = self.directory, str(self.model)
        try:
            return super().translate_path(path[len(MODEL_PREFIX) - 1 :])
        finally:
            self.directory = page

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format, *args):
        """Prints errors only."""

    def log_error(self, format, *args):
        super().log_message(f"{self.path}: {format}", *args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of an export; of TFLite with --static")
    parser.add_argument("--page", type=Path, default=PAGE, help="folder of the page")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    args = parser.parse_args()
    if not (args.model / "export.json").is_file():
        parser.error(f"`model` must be the folder of an export. Received: {args.model}")
    if not (args.page / "node_modules").is_dir():
        parser.error(f"The page's packages are missing. Run: npm install --prefix {args.page}")
    handler = partial(Handler, page=args.page, model=args.model)
    server = ThreadingHTTPServer(("127.0.0.1", args.port), handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
