"""The errors that are the user's to fix: each is one clear message, shown without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ConfigError", "DataError", "TrainingError", "UserError"]


def printable(text: object) -> str:
    """A name or a message on one line: control characters, and bytes that are no text, are written as escapes."""
    text = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class UserError(ValueError):
    """Something the user can put right; the message names the file or the configuration key and says what to do.

    A DataLoader re-creates an error of a worker process from that worker's printed traceback. Only the part that was
    written for the user is kept.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught ") and "Original Traceback" in message:
            message = message.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(printable(message))


class ConfigError(UserError):
    """A configuration key has a wrong name, type or value, or two keys contradict one another."""


class DataError(UserError):
    """A folder or an image file is missing, unreadable or does not fit the configuration."""


class TrainingError(UserError):
    """A run cannot go on as it is: its figures are no longer numbers, or its folder cannot be written."""


class EmptyPatchMapError(ConfigError):
    """The discriminator is too deep for the images: its patch map would be empty. A sweep leaves such a job out."""


class OtherRunError(ConfigError):
    """A folder holds another run, which is not to be written over."""


class BenchError(UserError):
    """Something could not be timed."""


@contextmanager
def one_message(command: str) -> Iterator[None]:
    """End the process with exit status 1 where something is the user's to put right: one line, no traceback."""
    try:
        yield
    except UserError as error:
        print(f"{command}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
