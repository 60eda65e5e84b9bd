"""Finds what is wrong with a YAML file, with its line, before Hydra reads it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    codecs.BOM_UTF8: "UTF-8 with a byte order mark",
}


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of a choice such as `experiment/demo`."""
    return next((f / f"{name}.yaml" for f in folders if (f / f"{name}.yaml").is_file()), None)


def line_of(path: Path, word: str) -> int | None:
    """The first line with a word in it, counted from 1."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if word in line), None)


def first_fault(folders: Sequence[Path], overrides: Sequence[str]) -> str | None:
    """What is wrong with a file of these folders, looking first at those that the overrides choose."""
    words = {override.rpartition("=")[2] for override in overrides}
    files = [path for folder in folders for path in sorted(folder.rglob("*.yaml"))]
    found = map(fault, sorted(files, key=lambda path: path.stem not in words))
    return next(filter(None, found), None)


def fault(path: Path) -> str | None:
    """What is wrong with a file that is no text in UTF-8, no YAML, or no group of keys: its name, line and why."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return f"{path}, line 1: the file is {encoding}: save it as UTF-8 without byte order mark"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"{path}, line {line}: not UTF-8: save the file as UTF-8"
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        return f"{path}, line {place.line + 1 if place else 1}: {_readable(error)}"
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        return f"{path}, line {line}: a character that YAML does not allow"
    except RecursionError:
        return f"{path}, line 1: nested too deeply"
    if tree is None:
        return None if content.strip() else f"{path}, line 1: the file is empty: write keys into it, or a comment"
    if not isinstance(tree, yaml.MappingNode):
        return f"{path}, line {tree.start_mark.line + 1}: should be keys with values, key: value, and nothing else"
    return next((f"{path}, line {line}: {what}" for line, what in _odd_places(tree, (), set())), None)


def _odd_places(node: yaml.Node, above: tuple[yaml.Node, ...], seen: set[int]) -> Iterator[tuple[int, str]]:
    """Keys that are there twice, and values that have themselves within them; aliases are followed once."""
    if any(node is parent for parent in above):
        yield above[-1].start_mark.line + 1, "a value has itself within it, by its own anchor: leave the alias out"
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    yield line, f"{key.value} is there twice, first in line {lines[key.value]}: keep one of them"
                lines[key.value] = line
    for item in node.value:
        for child in item if isinstance(node, yaml.MappingNode) else (item,):
            yield from _odd_places(child, (*above, node), seen)


def _readable(error: yaml.MarkedYAMLError) -> str:
    if "'\\t'" in (error.problem or ""):
        return "a tab where YAML takes spaces only: indent with spaces"
    return " ".join(f"{error.context or ''} {error.problem or 'no YAML'}".split())
