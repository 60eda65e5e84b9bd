"""The configuration is checked against the code's own signatures: their keywords, types and choices are the schema."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypedDict, get_type_hints

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from patchlight.config import OURS, unknown_key
from patchlight.errors import ConfigError

HYDRA_KEYS = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})

NETWORK_KEYS = frozenset({"generator", "discriminator", "init"})
"""Parts of `model` that are not arguments of the method: the networks are built from them first."""


class TopLevel(TypedDict):
    """Keys that are no group."""

    task: str
    seed: int
    resume: Literal["auto"] | str | None
    init_from: str | None
    objective: str | None
    evaluate_untrained: bool


GROUPS = frozenset({"data", "model", "trainer", "perf", "callbacks", "logger", "paths"})


def validate(cfg: DictConfig) -> None:
    """Check every key, type and choice, without building or reading anything.

    Raises:
        ConfigError: the first key that is unknown or holds a value of the wrong type, with what is allowed.
    """
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=False)  # type: ignore[assignment]
    hints = get_type_hints(TopLevel)
    for key, value in config.items():
        if key in hints:
            _check_value(key, value, hints[key])
        elif key not in GROUPS:
            raise ConfigError(unknown_key(key, [*hints, *GROUPS]))
    for key in OURS:
        group, _, leaf = key.partition(".")
        if config[group].get(leaf) is not None:
            raise ConfigError(unknown_key(key, []))
    _check_model(config["model"])
    _check_call("data", config["data"])
    # Lightning does not know the word, which is replaced before it is asked.
    trainer = config["trainer"]
    _check_call("trainer", {k: v for k, v in trainer.items() if (k, v) != ("precision", "auto")})
    _check_call("perf", config["perf"])
    for group in ("callbacks", "logger"):
        for name, node in (config.get(group) or {}).items():
            if node is not None:
                _check_call(f"{group}.{name}", node)


def _check_model(node: Mapping[str, Any]) -> None:
    target = locate(node["_target_"], "model")
    for key in ("generator", "discriminator"):
        if key not in node:
            raise ConfigError(f"model.{key} is missing: choose one with model/{key}=NAME")
        _check_call(f"model.{key}", node[key])
    _check_call("model.init", {"_target_": "patchlight.networks.init_weights", **node["init"]})
    own = {key: value for key, value in node.items() if key not in NETWORK_KEYS}
    _check_call("model", own, hidden=frozenset(target.roles), extra=NETWORK_KEYS)


def _check_call(
    path: str, node: Any, hidden: frozenset[str] = frozenset(), extra: frozenset[str] = frozenset()
) -> None:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{path}={node!r} should be a group of keys with a _target_")
    target = locate(node["_target_"], path)
    parameters = _parameters(target)
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    hints = _hints(target)
    for key, value in node.items():
        if key in HYDRA_KEYS:
            continue
        if (key not in parameters and not takes_any) or key in hidden:
            valid = [name for name in (*parameters, *extra) if name not in hidden]
            raise ConfigError(unknown_key(f"{path}.{key}", valid))
        _check_argument(f"{path}.{key}", value, hints.get(key, Any))


def _check_argument(path: str, value: Any, hint: Any) -> None:
    if isinstance(value, Mapping) and "_target_" in value:
        _check_call(path, value)
    elif isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
        for name, item in value.items():
            _check_call(f"{path}.{name}", item)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for i, item in enumerate(value):
            _check_argument(f"{path}[{i}]", item, Any)
    else:
        _check_value(path, value, hint)


def _check_value(path: str, value: Any, hint: Any) -> None:
    if hint is Any or (isinstance(value, str) and ("${" in value or value == "???")):
        return
    adapter = _adapter(hint)
    if adapter is None:
        return  # a type of Python objects, which its own code will check
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        allowed = " or ".join(dict.fromkeys(e["msg"].removeprefix("Input should be ") for e in error.errors()))
        raise ConfigError(f"{path}={value} should be {allowed}") from None


def locate(target: str, path: str) -> Any:
    """The class or function that a `_target_` names.

    Raises:
        ConfigError: it does not exist.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path}._target_={target} cannot be imported: {error}") from None


# What follows from a signature or a type alone is made once: it took as long as composing the configuration.


@cache
def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """The check of values against a type; None for a type of Python objects."""
    try:
        return TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


@cache
def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(target).parameters


@cache
def _hints(target: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):
        return {}
