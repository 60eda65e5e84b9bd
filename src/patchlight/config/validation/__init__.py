"""The configuration is checked against the code's own signatures: their keywords, types and choices are the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, TypeAdapter

from patchlight.config.compose import DATA_KEYS
from patchlight.config.messages import REPLACED_KEYS, one_line, unknown_key
from patchlight.config.validation.signatures import Signature, locate, signature, table_of
from patchlight.config.validation.values import Built, bounds_of, check_value, checker, writable, written
from patchlight.errors import ConfigError

__all__ = ["HYDRA_KEYS", "TopLevel", "check_group", "check_value", "checker", "checker_of", "locate", "validate"]

HYDRA_KEYS = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})

OWN_DATA = "patchlight.data.ImageDataModule"


class TopLevel(TypedDict):
    """Keys that are no group."""

    task: Annotated[str, Field(min_length=1)]
    question: str | None
    recipe: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    resume: Literal["auto"] | str | None
    init_from: str | None
    objective: str | None
    evaluate_untrained: bool
    extras: dict[str, Any]


GROUPS = ("data", "model", "trainer", "perf", "callbacks", "logger", "paths")

OUTPUT_DIR = "runtime.output_dir"
"""Where Hydra's configuration has the folder of the run."""


def validate(cfg: DictConfig) -> None:
    """Check every key, type, bound and choice of a training, without importing, building or reading anything.

    Raises:
        ConfigError: the first key that is unknown or holds a value that it cannot have, with what is allowed.
    """
    config = _content(cfg, "")
    for path in _missing("", config):
        raise ConfigError(f"{path} is not set: give {path}=VALUE")
    hints = get_type_hints(TopLevel, include_extras=True)
    for key, value in config.items():
        if key in hints:
            check_value(key, value, checker(hints[key]))
        elif key not in GROUPS:
            raise ConfigError(unknown_key(key, [*hints, *GROUPS]))
    for place, _ in _described("extras", config.get("extras") or {}):
        raise ConfigError(f"{place}._target_ would make an object, and extras are words and numbers that nothing reads")
    for key in GROUPS:
        node = config.get(key)
        if not isinstance(node, Mapping) and not (node is None and key in ("callbacks", "logger")):
            raise ConfigError(f"{key}={written(node)} should be a group of keys: choose one with {key}=NAME")
    for key in REPLACED_KEYS:
        group, _, leaf = key.partition(".")
        if config[group].get(leaf) is not None:
            raise ConfigError(unknown_key(key, []))
    for key in GROUPS:
        check_group(key, config.get(key) or {})


def check_group(group: str, node: Mapping[str, Any]) -> None:
    """Check one group, in plain values.

    Raises:
        ConfigError: as `validate`.
    """
    match group:
        case "model":
            _check_model(node)
        case "trainer":
            # Lightning does not know the word, which is replaced before it is asked.
            _check_call("trainer", {k: v for k, v in node.items() if (k, v) != ("precision", "auto")})
        case "data":
            source = node.get("source")
            given = source.get("root", "") if isinstance(source, Mapping) else source
            reads_root = given in (None, "${data.root}")
            if "root" in node and node["root"] is None and reads_root:
                raise ConfigError("data.root is not set: give data.root=VALUE")
            _check_data(node)
        case "paths":
            for key, value in node.items():
                check_value(f"paths.{key}", value, checker(Annotated[str, Field(min_length=1)]))
        case "callbacks" | "logger":
            for key, value in node.items():
                if value is not None:
                    _check_call(f"{group}.{key}", value)
        case _:
            _check_call(group, node)


def _content(node: Any, path: str) -> Any:
    """Plain values, with interpolations resolved as far as they can be before a run has begun.

    Raises:
        ConfigError: one leads nowhere.
    """
    if isinstance(node, DictConfig):
        return {str(key): _item(node, key, f"{path}{key!s}") for key in node}
    if isinstance(node, ListConfig):
        return [_item(node, i, f"{path.removesuffix('.')}[{i}]") for i in range(len(node))]
    return node


def _item(node: Any, key: Any, path: str) -> Any:
    if OmegaConf.is_missing(node, key):
        return "???"
    try:
        value = _content(node[key], f"{path}.")
    except OmegaConfBaseException as error:
        if not _awaits_folder() or not any(reason in str(error) for reason in ("HydraConfig was not set", OUTPUT_DIR)):
            reason = one_line(error).partition(" full_key:")[0]
            raise ConfigError(f"{path} cannot be resolved: {reason}") from None
        value = None
    if value is None and OmegaConf.is_interpolation(node, key) and _awaits_folder():
        unresolved: Any = OmegaConf.to_container(node, resolve=False)
        return unresolved[key]
    return value


def _awaits_folder() -> bool:
    """Whether Hydra has not chosen the folder of the run yet, as where something is composed by hand."""
    if not HydraConfig.initialized():
        return True
    runtime = HydraConfig.get().runtime
    return OmegaConf.is_missing(runtime, "output_dir") or runtime.output_dir is None


def _missing(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _missing(f"{path}.{key}" if path else str(key), item)
    elif value == "???":
        yield path


def _check_data(node: Mapping[str, Any]) -> None:
    """Keys that the run reads may be there also where the data module does not take them."""
    takes = signature(str(node.get("_target_")), "data") if "_target_" in node else None
    read = {key for key in DATA_KEYS if takes is not None and key in node and not takes.has(key)}
    _check_call("data", {key: value for key, value in node.items() if key not in read})
    for key in read:
        check_value(f"data.{key}", node[key], checker_of(OWN_DATA, key, signature(OWN_DATA, "data")))
    if node.get("_target_") == OWN_DATA and node.get("instances") and node.get("n_classes") is None:
        raise ConfigError("data.instances=true is of label maps: give data.n_classes, too")


def _check_model(node: Mapping[str, Any]) -> None:
    table = table_of(node.get("_target_", ""), "networks", "model")
    if table is None:
        raise ConfigError(
            f"model._target_={node['_target_']} is no method: derive it from patchlight.methods.TranslationMethod"
        )
    parts = list(dict.fromkeys(spec.get("config") or spec["kind"] for spec in table.values()))
    for key in (*parts, "init"):
        if node.get(key) is None:
            raise ConfigError(f"model.{key} is missing: choose one with model/{key}=NAME")
    for key in parts:
        _check_call(f"model.{key}", node[key])
    if not isinstance(node["init"], Mapping):
        raise ConfigError(f"model.init={node['init']} should be a group of keys: choose one with model/init=NAME")
    _check_call("model.init", {"_target_": "patchlight.networks.init_weights", **node["init"]})
    # The networks are built from their parts first; the method gets them under their names in the table.
    own = {key: value for key, value in node.items() if key not in (*parts, "init")}
    _check_call("model", own, hidden=frozenset(table), extra=frozenset((*parts, "init")))
    lengths = [(node.get("schedule") or {}).get(key) for key in ("n_epochs", "n_epochs_decay")]
    if lengths == [0, 0]:
        raise ConfigError(
            "model.schedule.n_epochs=0 and model.schedule.n_epochs_decay=0 leave no epoch to train: give one of them "
            "at least 1"
        )


def _check_call(
    path: str, node: Any, hidden: frozenset[str] = frozenset(), extra: frozenset[str] = frozenset()
) -> None:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{path}={node!r} should be a group of keys with a _target_")
    target = str(node["_target_"])
    takes = signature(target, path)
    for key, value in node.items():
        if key in HYDRA_KEYS:
            continue
        if not takes.has(key) or key in hidden:
            valid = [name for name in (*takes.parameters, *extra) if name not in hidden]
            # The file of a method sets keys of its networks, which one of the user's own may not take.
            hint = f"; if a file sets it, '~{path}.{key}' leaves it out" if path.startswith("model.") else ""
            raise ConfigError(unknown_key(f"{path}.{key}", valid) + hint)
        check_value(f"{path}.{key}", value, checker_of(target, key, takes))
        for place, described in _described(f"{path}.{key}", value):
            _check_call(place, described)


@cache
def checker_of(target: str, key: str, takes: Signature) -> TypeAdapter[Any]:
    """What checks a key of a class or function, whose signature `takes` is."""
    bounds = bounds_of(target)
    if key in bounds:
        return checker(bounds[key])
    # What another library's classes take beside plain values is theirs to check.
    return checker(writable(takes.hint(key), Built if target.startswith("patchlight.") else Any))


def _described(path: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects that a value describes, with their places."""
    if isinstance(value, Mapping) and "_target_" in value:
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _described(f"{path}.{name}", item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _described(f"{path}[{i}]", item)
