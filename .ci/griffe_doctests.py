"""A Griffe extension that shows the doctests of docstrings as code blocks.

Keras's docstrings have examples without indentation behind "Example:", which Markdown would take
for running text.
"""

import re
from typing import Any

import griffe

# A prompt, and everything up to the next blank line.
DOCTEST = re.compile(r"^>>> .*\n?(?:.*\S.*\n?)*", flags=re.MULTILINE)


class DoctestBlocks(griffe.Extension):
    """Puts each doctest of a docstring between code fences."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = DOCTEST.sub(_fence, obj.docstring.value)


def _fence(match: re.Match) -> str:
    return f"```pycon\n{match[0].rstrip()}\n```\n"
