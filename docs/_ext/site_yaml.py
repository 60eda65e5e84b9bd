"""Configuration files with what their comments say of each key, which a YAML parser alone throws away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node

PACKAGE = re.compile(r"# @package (\S+)")


@dataclass(frozen=True)
class Key:
    """A key of a file: its dotted name, its value as it is written, the comment beside it, the class that takes it."""

    name: str
    value: str
    comment: str
    target: str


@dataclass(frozen=True)
class ConfigFile:
    """A file of `configs/`, with the files that it is derived from merged in."""

    name: str
    package: str
    """Where its keys stand in a configuration: `model.penalties`, `_global_`, or empty for the group's own place."""
    description: str
    """The comment at its beginning."""
    keys: dict[str, Key] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The class or function of the file itself."""
        return next((key.value for key in self.keys.values() if key.name == "_target_"), "")


def read_config(path: Path) -> ConfigFile:
    """Read a file and what its defaults list names by a bare name, or with `@_here_`.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    text = path.read_text(encoding="utf-8")
    head = re.match(r"(?:#.*\n)*", text)
    assert head is not None
    package = PACKAGE.search(head.group())
    said = [line.removeprefix("#").strip() for line in head.group().splitlines() if not PACKAGE.match(line)]
    file = ConfigFile(path.stem, package.group(1) if package else "", " ".join(said))
    root = yaml.compose(text)
    if not isinstance(root, MappingNode):
        return file
    for base in _bases(path, root):
        file.keys.update(read_config(base).keys)
    for key in _keys(root, text.splitlines()):
        if key.name not in ("defaults", "hydra"):
            known = file.keys.get(key.name)
            file.keys[key.name] = key if key.comment or known is None else replace(key, comment=known.comment)
    # Keys of a file that others are derived from are taken by the class that the last of them names.
    for key in file.keys.values():
        file.keys[key.name] = replace(key, target=key.target or file.target)
    return file


def _bases(path: Path, root: MappingNode) -> Iterator[Path]:
    """The files that a file's keys begin with: `- _common`, or `- /model/optimizer@_here_: adam`."""
    entries: list[object] = yaml.safe_load(yaml.serialize(root)).get("defaults") or []
    for entry in entries:
        if isinstance(entry, str) and entry != "_self_":
            yield path.parent / f"{entry}.yaml"
        elif isinstance(entry, dict):
            for group, choice in entry.items():
                place = re.fullmatch(r"/(\S+)@_here_", str(group))
                if place:
                    yield next(p for p in path.parents if p.name == "configs") / place.group(1) / f"{choice}.yaml"


def _keys(node: MappingNode, lines: list[str], prefix: str = "", target: str = "") -> Iterator[Key]:
    """The keys below a node; the keys of an object, which has a `_target_`, with that, another mapping as a value."""
    own = _fields(node)
    here = own["_target_"].value if "_target_" in own else target
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, MappingNode) and "_target_" in _fields(value):
            yield from _keys(value, lines, f"{name}.")
        else:
            yield Key(name, _written(value, lines), _comment(key, value, lines), here)


def _fields(node: MappingNode) -> dict[str, Node]:
    return {key.value: value for key, value in node.value}


def _written(value: Node, lines: list[str]) -> str:
    first, last = value.start_mark, value.end_mark
    if first.line == last.line:
        return lines[first.line][first.column : last.column]
    return yaml.safe_dump(yaml.safe_load(yaml.serialize(value)), default_flow_style=True, width=1000).strip()


def _comment(key: Node, value: Node, lines: list[str]) -> str:
    """The comment at the end of the line of a key."""
    one_line = value.start_mark.line == value.end_mark.line == key.start_mark.line
    mark = value.end_mark if one_line else key.end_mark
    rest = lines[mark.line][mark.column :].lstrip(": ")
    return rest.removeprefix("#").strip() if rest.startswith("#") else ""
