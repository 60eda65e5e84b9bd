"""The frame of every command: compose, check, run, and one message for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, ValidationError

from patchlight.config.command_line import check_command_line, start_hydra, with_free_keys
from patchlight.config.compose import explained
from patchlight.config.messages import unknown_key
from patchlight.config.validation.values import allowed, require_usual_size, word, written
from patchlight.errors import ConfigError, one_message

DATA = "data="
"""How the folder of an image set is given to a command. Hydra would take the word for a choice from a group."""


class CommandConfig(BaseModel):
    """The keys of a command, in their types; no number is infinite, and no word empty."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, str_min_length=1)

    examples: ClassVar[Mapping[str, str]] = {}
    """What to write for a key that has no default."""

    open_groups: ClassVar[tuple[str, ...]] = ()
    """Groups below which any key may be given."""

    takes_data: ClassVar[bool] = False
    """Whether `data=DIR` says the same as `root=DIR`."""

    def check(self) -> None:
        """Raise a ConfigError where keys contradict one another, each of which has a value of its type."""


Device = word(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:1 or mps")
"""Where a network computes, by PyTorch's name."""

M = TypeVar("M", bound=CommandConfig)


def run_command(verb: str, model: type[M], run: Callable[[M], int | None]) -> None:
    """The whole of a command whose configuration is `configs/VERB.yaml`; its arguments are Hydra's overrides.

    `run` does the work and returns the number of failures, if it counts them: the exit status is 1 if there are any.
    """
    if model.takes_data:
        sys.argv[1:] = [f"root={a.removeprefix(DATA)}" if a.startswith(DATA) else a for a in sys.argv[1:]]
    sys.argv[1:] = with_free_keys(sys.argv[1:], model.open_groups)
    with one_message(f"patchlight-{verb}"):
        for cfg in check_command_line(sys.argv[1:], verb):
            typed(cfg, model).check()

    @wraps(run)
    def job(cfg: DictConfig) -> None:
        if run(typed(cfg, model)):
            raise SystemExit(1)

    start_hydra(verb, job)


def typed(cfg: DictConfig, model: type[M]) -> M:
    """A configuration in the types of its command.

    Raises:
        ConfigError: a key without value or with a wrong one.
    """
    with explained():
        missing = OmegaConf.missing_keys(cfg)
        for key, example in model.examples.items():
            if key in missing:
                raise ConfigError(f"{key} is not set: give {example}")
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
