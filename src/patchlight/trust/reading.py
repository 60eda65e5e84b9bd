"""JSON and YAML files of a run's folder, read as plain data of bounded size."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from patchlight.errors import DataError
from patchlight.trust.plain import MAX_DEPTH, plain

MAX_FILE = 2**24
"""Bytes of a file."""


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
