"""What the smaller commands have in common: a configuration in its types, and one message for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, ValidationError

from patchlight.config.compose import explained
from patchlight.config.messages import unknown_key
from patchlight.config.validation.values import allowed, require_usual_size, word, written
from patchlight.errors import ConfigError, UserError


class CommandConfig(BaseModel):
    """The keys of a command, in their types; no number is infinite, and no word empty."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, str_min_length=1)


Device = word(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:1 or mps")
"""Where a network computes, by PyTorch's name."""

M = TypeVar("M", bound=CommandConfig)


def typed(cfg: DictConfig, model: type[M], examples: Mapping[str, str]) -> M:
    """A configuration in the types of its command; `examples` say how to give the keys that have no default.

    Raises:
        ConfigError: a key without value or with a wrong one.
    """
    with explained("the configuration"):
        missing = OmegaConf.missing_keys(cfg)
    for key, example in examples.items():
        if key in missing:
            raise ConfigError(f"{key} is not set: give {example}")
    with explained("the configuration"):
        content: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    for key in content.keys() - model.model_fields.keys():
        raise ConfigError(unknown_key(key, model.model_fields))
    try:
        config = model(**content)
        require_usual_size(content)
        return config
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise ConfigError(f"{key}={written(content.get(key))} should be {allowed(error, key)}") from None


def stop(command: str, error: UserError) -> NoReturn:
    """One message and exit status 1, no traceback."""
    print(f"{command}: {error}", file=sys.stderr)
    raise SystemExit(1)
