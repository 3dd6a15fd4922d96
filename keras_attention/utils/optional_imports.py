"""A check of optional dependencies, whose error names the extra to install; late imports."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

# Import names of the packages that each extra of setup.cfg adds.
EXTRAS = {
    "tensorflow": ("tensorflow",),
    "text": ("tensorflow", "tensorflow_text", "sentencepiece", "safetensors"),
    "export": ("tensorflow", "tensorflow_text", "ai_edge_litert", "flatbuffers"),
    "viz": ("matplotlib", "PIL"),
    "metrics": ("sacrebleu",),
    "hub": ("huggingface_hub",),
    "int4": ("ai_edge_quantizer",),
    "ctranslate2": ("ctranslate2",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx", "tokenizers"),
    "litert_lm": ("litert_lm_builder", "tokenizers"),
    "ray": ("ray", "pandas", "pyarrow"),
}


def require_extra(extra: str, feature: str, packages: Sequence[str] = ()) -> None:
    """Checks that the packages of an extra are installed, without importing them.

    Args:
        extra: Name of an extra of setup.cfg, a key of `EXTRAS`.
        feature: Module or option that needs it, for the message.
        packages: Import names to check, if the feature does not need all of the extra.

    Raises:
        ImportError: If a package is missing. The message names the extra.

    Example:

    >>> from keras_attention.utils.optional_imports import require_extra
    >>> require_extra("viz", "keras_attention.viz")
    """
    missing = [name for name in packages or EXTRAS[extra] if not _is_installed(name)]
    if missing:
        raise ImportError(
            f"`{feature}` requires the extra `{extra}`: in a checkout of the project, run "
            f'`pip install -e ".[{extra}]"`. Received: no package {", ".join(map(repr, missing))}'
        )


class LazyModule:
    """A module that is imported when one of its attributes is first used.

    Args:
        name: Import name of the module.

    Example:

    >>> from keras_attention.utils.optional_imports import LazyModule
    >>> json = LazyModule("json")
    >>> json.dumps([1])
    '[1]'
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # raised by import hooks that block a package
        return False
    except ValueError:  # a module without a spec is in sys.modules, or None is
        return sys.modules.get(name) is not None
