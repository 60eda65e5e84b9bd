"""Docstrings of the package, which are plain text with `code`, as reStructuredText."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

SPECIAL = re.compile(r"[*|]|(?<=\w)_(?!\w)")
"""What is a mark in reStructuredText, and a character in our text."""

CODE = re.compile(r"(``.+?``|`[^`]+`)")


def escape(line: str) -> str:
    """A line in which only code is marked up."""
    parts = CODE.split(line)
    return "".join(_code(part) if part.startswith("`") else SPECIAL.sub(r"\\\g<0>", part) for part in parts)


def _code(part: str) -> str:
    return part if part.startswith("``") else f"`{part}`"


def on_docstring(app: Sphinx, what: str, name: str, target: object, options: object, lines: list[str]) -> None:
    """Change the lines of a docstring in place, unless it comes from another library."""
    if name.startswith("patchlight"):
        lines[:] = [escape(line) for line in lines]
