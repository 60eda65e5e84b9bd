"""Output files that are whole or not there, and none is lost that was there before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchlight.errors import ConfigError, DataError


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file in one piece: a reader sees the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def check_free(path: Path, overwrite: bool) -> None:
    """See that a file can be made there, before anything is computed for it.

    Raises:
        ConfigError: something is there already, or the folder cannot be made or written.
    """
    if path.is_dir():
        raise ConfigError(f"output={path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise ConfigError(f"output={path} is there already: choose another name, or give overwrite=true")
    make_folder(path.parent, path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"output={path} cannot be made: {path.parent} is not writable; choose another folder")


def make_folder(folder: Path, output: Path | None = None) -> None:
    """Make a folder for results before anything is computed for them; `output` is what the user named, if not it.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        named = output or folder
        raise ConfigError(f"output={named} cannot be made ({error.strerror}): choose another folder") from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, of the same ending, to be written in the block; it takes its place if the block succeeds.

    Others may read it as any new file of this process, also where a library that writes it means it for its owner only.

    Raises:
        DataError: the disk is full, or the file cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        temporary.touch()
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} cannot be written ({reason}): make room or choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)
