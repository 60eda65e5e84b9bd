"""What the smaller commands have in common: a configuration in its types, and one message for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ValidationError

from patchlight.errors import ConfigError, UserError

M = TypeVar("M", bound=BaseModel)


def typed(cfg: DictConfig, model: type[M], examples: Mapping[str, str]) -> M:
    """A configuration in the types of its command; `examples` say how to give the keys that have no default.

    Raises:
        ConfigError: a key without value or with a wrong one.
    """
    missing = OmegaConf.missing_keys(cfg)
    for key, example in examples.items():
        if key in missing:
            raise ConfigError(f"{key} is not set: give {example}")
    content: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    try:
        return model(**content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part in content or isinstance(part, int))
        allowed = first["msg"].removeprefix("Input should be ")
        raise ConfigError(f"{place or first['loc'][0]}={first['input']} should be {allowed}") from None


def stop(command: str, error: UserError) -> NoReturn:
    """One message and exit status 1, no traceback."""
    print(f"{command}: {error}", file=sys.stderr)
    raise SystemExit(1)
