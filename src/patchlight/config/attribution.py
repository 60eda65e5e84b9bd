"""Says which key of a configuration, or which file, an error comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from patchlight.config.messages import one_line
from patchlight.errors import ConfigError, DataError, UserError


@contextmanager
def errors_for_key(path: str) -> Iterator[None]:
    """Say which part of the configuration a refused value belongs to.

    Messages of this project's constructors begin with the name of the argument, so the part and a dot before it make
    the key; those of other libraries begin with a capital.
    """
    try:
        yield
    except (InstantiationException, ValueError, TypeError, ArithmeticError) as error:
        cause: Any = (error.__cause__ or error) if isinstance(error, InstantiationException) else error
        if isinstance(cause, UserError):
            raise cause from None
        text = one_line(cause)
        if isinstance(error, InstantiationException):
            path = _full_key(error, path)
        names_argument = isinstance(cause, ValueError) and text[:1].islower()
        raise ConfigError(f"{path}.{text}" if names_argument else f"{path} cannot be built: {text}") from None


def _full_key(error: InstantiationException, path: str) -> str:
    """The key of the object that refused a value, which may lie below the one that was to be built."""
    found = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    if found is None or found[1] == path:
        return path
    return found[1] if found[1].startswith(f"{path}.") else f"{path}.{found[1]}"


@contextmanager
def recorded_in(path: str | Path) -> Iterator[None]:
    """Say of a value that is wrong in which checkpoint it stands.

    Raises:
        DataError: in place of any error of the configuration.
    """
    try:
        yield
    except (ConfigError, OmegaConfBaseException) as error:
        raise DataError(f"{path} has a configuration that cannot be used: {one_line(error)}") from None
