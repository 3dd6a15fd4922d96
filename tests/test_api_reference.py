"""Each public name has one place in the API reference, and each page a place in the navigation."""

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.md")}
DOCUMENTED = Counter(
    name for page in PAGES.values() for name in re.findall(r"^::: (\S+)", page, re.M)
)
PACKAGES = (
    "datasets",
    "decoders",
    "export",
    "generation",
    "images",
    "interop",
    "layers",
    "metrics",
    "models",
    "ops",
    "recipes",
    "serving",
    "tasks",
    "text",
    "training",
    "viz",
)
# Names that a package exports for convenience, documented where they are defined.
ELSEWHERE = {
    f"keras_attention.text.{name}": "keras_attention.ops.ids"
    for name in ("END", "PAD", "SPECIALS", "START", "UNKNOWN")
}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_documented_once(package):
    module = importlib.import_module(f"keras_attention.{package}")
    for name in module.__all__:
        path = f"keras_attention.{package}.{name}"
        assert DOCUMENTED[ELSEWHERE.get(path, path)] == 1, path


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("path", DOCUMENTED)
def test_every_documented_name_exists(path):
    package, name = path.rsplit(".", 1)
    assert name in importlib.import_module(package).__all__


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"api/{page}\n" in navigation
