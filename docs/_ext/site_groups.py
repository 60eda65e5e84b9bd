"""Every key of a group of configuration files: its type, its default in each file, and what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from patchlight.config.validation import TopLevel, checker_of
from patchlight.config.validation.signatures import signature
from site_types import type_text
from site_yaml import ConfigFile, Key, read_config

PRESETS = ("data/augment", "recipe", "experiment", "sweep", "launcher", "debug")
"""Groups whose files set keys of other groups, or hold no keys that one would set one by one."""

PLAIN_TARGETS = {"model/init": "patchlight.networks.init_weights"}
"""What takes the keys of a group whose files name no class."""

ENUMERATION = re.compile(r"^[\w.-]+(?: \| [\w.-]+)+(?: \.\.\.)?(?:: |$)")
"""The choices of a key at the beginning of its comment, which its type says, too."""


@dataclass
class Row:
    """A key, in full, of one or several files."""

    name: str
    type: str
    meaning: str
    defaults: dict[str, list[str]] = field(default_factory=dict)
    """The files' names by the value that the key has in them."""


@dataclass(frozen=True)
class Group:
    """A folder of files of which one is chosen, or several."""

    name: str
    files: tuple[ConfigFile, ...]
    tables: dict[str, dict[str, Row]]
    """The rows of each class that takes keys, by their names in full."""
    also: dict[str, list[Key]]
    """The keys of other groups that a file sets."""


def read_groups(configs: Path) -> list[Group]:
    """All groups that have keys of their own, in the order of their names."""
    folders = sorted(path for path in configs.rglob("*") if path.is_dir() and not _hidden(path.relative_to(configs)))
    names = [folder.relative_to(configs).as_posix() for folder in folders]
    return [read_group(configs, name) for name in names if name not in PRESETS]


def _hidden(path: Path) -> bool:
    return path.parts[0] in ("hydra", "wandb", "local") or any(part.startswith("_") for part in path.parts)


def read_group(configs: Path, name: str) -> Group:
    """The keys of one group."""
    paths = sorted(path for path in (configs / name).glob("*.yaml") if not path.stem.startswith("_"))
    files = tuple(read_config(path) for path in paths)
    tables: dict[str, dict[str, Row]] = {}
    also: dict[str, list[Key]] = {}
    for file in files:
        prefix = file.package or name.replace("/", ".")
        for key in file.keys.values():
            leaf = key.name.rpartition(".")[2]
            target = key.target or PLAIN_TARGETS.get(name, "")
            if leaf.startswith("_"):
                continue
            if (configs / name / leaf).is_dir() or not (_takes(target, leaf) or name == "paths"):
                also.setdefault(file.name, []).append(key)
                continue
            row = tables.setdefault(target, {}).setdefault(f"{prefix}.{key.name}", _row(prefix, key, target, leaf))
            row.meaning = row.meaning or meaning(key.comment)
            row.defaults.setdefault(key.value, []).append(file.name)
    return Group(name, files, {target: rows for target, rows in tables.items() if rows}, also)


def _takes(target: str, leaf: str) -> bool:
    return bool(target) and signature(target, "").has(leaf)


def _row(prefix: str, key: Key, target: str, leaf: str) -> Row:
    hint = checker_of(target, leaf, signature(target, "")) if target else TypeAdapter(str)
    return Row(f"{prefix}.{key.name}", type_text(hint.json_schema()), meaning(key.comment))


def meaning(comment: str) -> str:
    """What a comment says beside the choices that a key has."""
    return ENUMERATION.sub("", comment, count=1)


def top_level(configs: Path) -> list[Row]:
    """The keys of a training that are in no group."""
    hints = get_type_hints(TopLevel, include_extras=True)
    file = read_config(configs / "train.yaml")
    return [_plain_row(key, TypeAdapter(hints[key.name]).json_schema()) for key in file.keys.values()]


def command_rows(configs: Path, verb: str, schema: dict[str, Any]) -> Iterator[Row]:
    """The keys of another command than `train`, by the schema of its configuration."""
    definitions = schema.get("$defs", {})
    for key in read_config(configs / f"{verb}.yaml").keys.values():
        yield _plain_row(key, {**schema["properties"][key.name], "$defs": definitions})


def _plain_row(key: Key, schema: dict[str, Any]) -> Row:
    return Row(key.name, type_text(schema), meaning(key.comment), {key.value: [""]})
