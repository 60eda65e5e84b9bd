"""JSON and YAML files of a run's folder, read as plain data of bounded size."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from patchlight.errors import DataError

MAX_FILE = 2**24
"""Bytes of a file."""

MAX_DEPTH = 32
"""Mappings and lists within one another."""

MAX_VALUES = 20_000
"""All values of one file, each counted as often as it is reached."""

MAX_TEXT = 2**16
"""Characters of a text."""


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, is damaged, or too large.
    """
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path} is damaged: {_reason(error)}") from None
    return plain(content, str(path), max_values=MAX_FILE)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file as it stands there: interpolations remain texts, and no tag makes an object.

    Raises:
        DataError: it cannot be read, is damaged, refers to itself, or is too large.
    """
    text = _read(path)
    try:
        _check_events(text, path)
        content: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except DataError:
        raise
    except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged: {_reason(error)}") from None
    return plain(content, str(path))


def _check_events(text: str, path: Path) -> None:
    """Refuse what would be expanded or nested without end before any of it is."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise DataError(f"{path} is damaged: it repeats a part of itself by an alias, which no run writes")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise DataError(f"{path} is damaged: it has more than {MAX_DEPTH} levels within one another")


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise DataError(f"{path} is damaged: it is larger than {MAX_FILE // 2**20} MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def plain(value: object, source: str, max_values: int = MAX_VALUES) -> Any:
    """A copy in dictionaries with texts as keys, lists, texts, numbers, booleans and None.

    Values that hold themselves, or one another many times over, end at the bounds.

    Raises:
        DataError: another type, or more than the bounds; the message names `source` and the key.
    """
    left = max_values

    def copy(value: object, key: str, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise DataError(f"{source} holds more than {max_values} values: no configuration has as many")
        if depth > MAX_DEPTH:
            raise DataError(f"{source} has more than {MAX_DEPTH} levels within one another at {clipped(key)}")
        if value is None or type(value) is bool or type(value) is float:
            return value
        if type(value) is int:
            if abs(value) >= 2**63:
                raise DataError(f"{source} has a number at {clipped(key)} that is too large")
            return value
        if type(value) is str:
            return _text(value, key)
        if isinstance(value, Mapping):
            start = f"{key}." if key else ""
            return {_name(name, key): copy(item, f"{start}{name}", depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [copy(item, f"{key}[{i}]", depth + 1) for i, item in enumerate(value)]
        raise DataError(f"{source} holds a {type(value).__name__} at {clipped(key)}: plain values are needed")

    def _text(text: str, key: str) -> str:
        if len(text) > MAX_TEXT or "\0" in text:
            raise DataError(f"{source} has a text at {clipped(key)} that is too long or holds a null character")
        return text

    def _name(name: object, key: str) -> str:
        if type(name) is not str:
            raise DataError(f"{source} has a {type(name).__name__} as a name below {clipped(key) or 'the top'}")
        return _text(name, key)

    return copy(value, "", 0)


def clipped(text: str) -> str:
    """A text as a message shows it, at most 200 characters of it."""
    return text if len(text) <= 200 else f"{text[:200]}..."
