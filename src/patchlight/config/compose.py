"""Composing the configuration, names of its folders included. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from patchlight.config.messages import explain, fault, find, first_fault, is_for_users, one_line
from patchlight.errors import ConfigError
from patchlight.system.job_record import JobRecord, run_id

DATA_KEYS: Mapping[str, Any] = {"channels_a": 3, "channels_b": 3, "direction": "AtoB", "image_size": "???"}
"""Parts of `data` that a run reads for itself, with their defaults. A data module need not take them."""


LONGEST_NAME = 120
"""Characters of a job's folder."""


def config_dir() -> Path:
    """The folder of YAML files: inside the package where it was installed, beside `src/` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def register_resolvers() -> None:
    """Make known `${run_id:}`, by which no two runs ever share a directory, and the names of a sweep's folders."""
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    OmegaConf.register_new_resolver("choices", choices, replace=True)


def compose_config(
    config_name: str, overrides: Sequence[str] = (), with_hydra: bool = False, folder: Path | None = None
) -> DictConfig:
    """The configuration that a command line with these overrides gets, Hydra's own part included if asked for.

    `folder` is another one of YAML files than this package's.

    Raises:
        ConfigError: an unknown key, an unknown choice of a group, an override or a file that cannot be read.
    """
    register_resolvers()
    folder = folder or config_dir()
    searched = " ".join(override for override in overrides if override.startswith("hydra.searchpath="))
    folders = [*map(Path, re.findall(r"file://([^'\",\]]+)", searched)), folder]
    _check_chosen(config_name, overrides, folders)
    with _hydra_of_its_own(), initialize_config_dir(str(folder), version_base="1.3"):
        try:
            return compose(config_name, overrides=list(overrides), return_hydra_config=with_hydra)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, config_name, overrides, folders)) from None
        except Exception as error:  # such as a ValueError of Hydra's, which does not say which file is at fault
            found = first_fault(folders, overrides)
            null = next((f"{override} is no choice: " for override in overrides if override.endswith("=null")), "")
            raise ConfigError(found or f"{null}the configuration cannot be composed: {one_line(error)}") from None


def _check_chosen(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Look at the files that are chosen by name, of which Hydra would say less or, of a byte order mark, nothing."""
    choices = [override.lstrip("+").partition("=")[::2] for override in overrides]
    for name in (config_name, *(f"{group}/{choice}" for group, choice in choices)):
        path = find(name, folders)
        found = fault(path) if path is not None else None
        if found is not None:
            raise ConfigError(found)


@contextmanager
def _hydra_of_its_own() -> Iterator[None]:
    """Hydra knows one configuration folder at a time; that of a command that is running is put back afterwards."""
    known = GlobalHydra.instance()
    of_command, known.hydra = known.hydra, None
    try:
        yield
    finally:
        known.hydra = of_command


def complete(cfg: DictConfig) -> None:
    """Fill in, in place, what follows from other keys unless it was given.

    Raises:
        ConfigError: a mandatory value is missing, or an interpolation leads nowhere.
    """
    for key, value in DATA_KEYS.items():
        if key not in cfg.data:
            OmegaConf.update(cfg, f"data.{key}", value, force_add=True)
    with explained():
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise ConfigError(f"{missing[0]} is not set: give {missing[0]}=VALUE")
        if cfg.trainer.max_epochs is None:
            schedule = cfg.model.get("schedule")
            if schedule is None:
                raise ConfigError("trainer.max_epochs=null takes the length of model.schedule, which is null: give one")
            cfg.trainer.max_epochs = schedule.n_epochs + schedule.n_epochs_decay
        OmegaConf.resolve(cfg)


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of OmegaConf's into a ConfigError of one line."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"the configuration cannot be resolved: {one_line(error)}") from None


def sweep_folder() -> str:
    """The name of this sweep's folder: its own, or the command's id."""
    record = JobRecord.current()
    return record.sweep or record.run_id


def job_folder(number: object, overrides: Sequence[str]) -> str:
    """The name of a job's folder: in a sweep with a name of its own that of its values, otherwise its number."""
    record = JobRecord.current()
    name = job_name(overrides, record.swept) if record.sweep else ""
    return name or str(number)


def choices() -> str:
    """A line for each group with what can be chosen from it, for the help of a command that is running."""
    loader = GlobalHydra.instance().config_loader()
    lines = []
    for group in _groups_below(loader, ""):
        names = [name for name in loader.get_group_options(group) if not name.startswith("_")]
        if names and is_for_users(group):
            lines.append(f"{group}: {', '.join(names)}")
    return "\n".join(lines)


def _groups_below(loader: ConfigLoader, group: str) -> Iterator[str]:
    for name in sorted(loader.list_groups(group)):
        below = f"{group}/{name}" if group else name
        yield below
        yield from _groups_below(loader, below)


def job_name(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """What sets a job apart, as one part of a path: `discriminator=patch70,seed=0`."""
    values = dict(override.partition("=")[::2] for override in overrides)
    keys = {key: re.split(r"[./@]", key.lstrip("+")) for key in swept if key in values}
    text = ",".join(sorted(f"{_shortest(key, keys.values())}={values[full]}" for full, key in keys.items()))
    safe = re.sub(r"[^\w.+=,-]", "_", text, flags=re.ASCII)
    return safe if safe == text and len(text) <= LONGEST_NAME else f"{safe[: LONGEST_NAME - 9]}-{digest(text)}"


def _shortest(key: Sequence[str], others: Iterable[Sequence[str]]) -> str:
    """The last parts of a key, as many as tell it from the others."""
    for n in range(1, len(key)):
        if sum(other[-n:] == key[-n:] for other in others) == 1:
            return ".".join(key[-n:])
    return ".".join(key)


def digest(*words: str) -> str:
    """Eight characters that stand for some words."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def dotted(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a nested configuration with their dotted keys; an empty group is a value."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# Here, so that a process to which a launcher hands a job knows it, too.
register_resolvers()
