"""Types of the values of a configuration: checks one against its type, and says in one sentence what is allowed."""

from __future__ import annotations

import collections.abc
import datetime
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from patchlight.errors import ConfigError

LARGEST = 2**63 - 1
"""Larger integers are none to PyTorch and NumPy."""

PLAIN = (int, float, bool, str, NoneType, Any, Path, list, dict, tuple, datetime.timedelta)
"""Types whose values a file can hold."""


def _require_target(value: Any) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return value
    raise PydanticCustomError("built", "a group of keys with a _target_")


def _require_no_bool(value: Any) -> Any:
    # Which Python takes for the integer that is equal to it.
    return f"{value}" if isinstance(value, bool) else value


Built = Annotated[Any, AfterValidator(_require_target)]
"""An object, which a file describes by its class and arguments."""


def word(pattern: str, description: str) -> Any:
    """The type of words that match a regular expression, with what to say of them."""

    def require_match(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("word", description)
        return value

    return Annotated[str, AfterValidator(require_match)]


def checker(hint: Any) -> TypeAdapter[Any]:
    """What checks values of a type. Infinity and not a number are nowhere a setting."""
    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))


def check_value(path: str, value: Any, type_checker: TypeAdapter[Any]) -> None:
    """Check a value; what waits for an interpolation is left out.

    Raises:
        ConfigError: it is of another type, or out of bounds.
    """
    if any(isinstance(leaf, str) and ("${" in leaf or leaf == "???") for leaf in _leaves(value)):
        return
    try:
        type_checker.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        if isinstance(value, Mapping) and place and place[0] in value:
            path, value = f"{path}.{place[0]}", value[place[0]]
        raise ConfigError(f"{path}={written(value)} should be {allowed(error)}") from None
    require_usual_size({path: value})


def require_usual_size(values: Mapping[str, Any]) -> None:
    """Raise a ConfigError if one of these values is, or has within it, an integer of more than 64 bits."""
    for key, value in values.items():
        if any(isinstance(leaf, int) and abs(leaf) > LARGEST for leaf in _leaves(value)):
            raise ConfigError(f"{key}={written(value)} should be at most {LARGEST}")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    else:
        yield value


def writable(hint: Any, other: Any = Built) -> Any:
    """The type with `other` in place of every class of which a file cannot hold a value."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal and not any(isinstance(arg, bool) for arg in args):
        return Annotated[hint, BeforeValidator(_require_no_bool)]
    if hint in PLAIN or origin is Literal:
        return hint
    if origin is Annotated:
        return Annotated[(writable(args[0], other), *args[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(writable(arg, other) for arg in args)]  # noqa: UP007
    if origin is tuple:
        return GenericAlias(tuple, tuple(arg if arg is Ellipsis else writable(arg, other) for arg in args))
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        return GenericAlias(list, writable(args[0], other))
    if origin in (dict, collections.abc.Mapping):
        return GenericAlias(dict, (str, writable(args[1], other)))
    return other


def allowed(error: ValidationError, key: str | None = None) -> str:
    """What is allowed, after "should be"; with a key, only what is said of that one."""
    return " or ".join(dict.fromkeys(_allowed(e) for e in error.errors() if key is None or e["loc"][0] == key))


def _allowed(error: ErrorDetails) -> str:
    match error["type"]:
        case "too_long" | "too_short" if error["ctx"]["field_type"] in ("List", "Tuple"):
            bound, word = ("max_length", "most") if error["type"] == "too_long" else ("min_length", "least")
            return f"a list of at {word} {error['ctx'][bound]}"
        case "greater_than_equal":
            return f"at least {error['ctx']['ge']}"
        case "less_than_equal":
            return f"at most {error['ctx']['le']}"
        case "none_required":
            return "null"
        case "dict_type":
            return "a group of keys"
        case "list_type":
            return "a list"
        case "missing":
            return "a list of more"
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    place = f" at place {error['loc'][-1]}" if error["loc"] and isinstance(error["loc"][-1], int) else ""
    return message + place


def written(value: Any) -> str:
    """A value as it is given on the command line."""
    return "null" if value is None else str(value)


Share = Annotated[float, Field(ge=0, lt=1)]
Endless = PositiveInt | Literal[-1]
Batches = PositiveInt | Annotated[float, Field(gt=0, le=1)]
"""A number of batches, or with a point in it a part of them all."""
DEVICES = word(r"auto|-1|\d+(,\d+)*", "'auto', or numbers such as '0,1'")
TIME = word(r"\d+:\d+:\d+:\d+", "a time DD:HH:MM:SS")
MaybeNoBatches = NonNegativeInt | Annotated[float, Field(ge=0, le=1)]

_TRAINER: Mapping[str, Any] = {
    "accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"],
    "strategy": str,
    "devices": PositiveInt | Literal[-1] | DEVICES | Annotated[list[NonNegativeInt], Field(min_length=1)],
    "profiler": Literal["simple", "advanced", "pytorch", "xla"] | Built | None,
    "val_check_interval": Batches | TIME | None,
    "max_epochs": Endless | None,
    "min_epochs": NonNegativeInt | None,
    "max_steps": Endless,
    "min_steps": NonNegativeInt | None,
    "num_nodes": PositiveInt,
    "limit_train_batches": Batches | None,
    "limit_val_batches": MaybeNoBatches | None,
    "limit_test_batches": MaybeNoBatches | None,
    "overfit_batches": MaybeNoBatches,
    "check_val_every_n_epoch": PositiveInt | None,
    "log_every_n_steps": NonNegativeInt | None,
    "num_sanity_val_steps": NonNegativeInt | Literal[-1] | None,
    "reload_dataloaders_every_n_epochs": NonNegativeInt,
}

_OPTIMIZER: Mapping[str, Any] = {
    "lr": NonNegativeFloat,
    "betas": tuple[Share, Share],
    "eps": NonNegativeFloat,
    "weight_decay": NonNegativeFloat,
    "momentum": NonNegativeFloat,
    "momentum_decay": NonNegativeFloat,
    "dampening": float,
    "alpha": NonNegativeFloat,
    "rho": Share,
    "lr_decay": NonNegativeFloat,
    "initial_accumulator_value": NonNegativeFloat,
    "lambd": NonNegativeFloat,
    "t0": NonNegativeFloat,
    "etas": tuple[PositiveFloat, PositiveFloat],
    "step_sizes": tuple[PositiveFloat, PositiveFloat],
}

_EARLY_STOPPING: Mapping[str, Any] = {
    "mode": Literal["min", "max"],
    "patience": NonNegativeInt,
    "min_delta": NonNegativeFloat,
}


def bounds_of(target: str) -> Mapping[str, Any]:
    """The types of some parameters of a class that are narrower than its signature, by their names."""
    if target.startswith("torch.optim."):
        return _OPTIMIZER
    module, _, name = target.rpartition(".")
    if module.startswith(("lightning.pytorch", "pytorch_lightning")):
        return {"Trainer": _TRAINER, "EarlyStopping": _EARLY_STOPPING}.get(name, {})
    return {}
