"""Composing the configuration, and saying clearly what is wrong with it. Imports nothing heavy."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from patchlight.errors import ConfigError
from patchlight.run_id import run_id

MAX_CHOICES_CHECKED = 64
"""How many values of one sweep are checked before it starts."""

OURS = {
    "trainer.gradient_clip_val": "model.clip_g and model.clip_d",
    "trainer.gradient_clip_algorithm": "model.clip_g and model.clip_d, which bound the norm",
    "trainer.accumulate_grad_batches": "model.accumulate",
}
"""Settings of Lightning's that have no effect in manual optimization, and the keys to use in their place."""

EXTRAS = {"hydra/launcher/submitit_slurm": "slurm", "hydra/launcher/joblib": "joblib", "hydra/launcher/ray": "ray"}
"""Launchers that are plugins of Hydra, and what of this package brings them."""


def config_dir() -> Path:
    """The folder of YAML files: inside the package where it was installed, beside `src/` in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def register_resolvers() -> None:
    """Make `${run_id:}` known, by which no two runs ever share a directory."""
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)


def compose_config(config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration that a command line with these overrides gets.

    Raises:
        ConfigError: an unknown key, an unknown choice of a group, or an override that cannot be read.
    """
    register_resolvers()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            return compose(config_name, overrides=list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_explain(error, config_name, overrides)) from None


def check_command_line(argv: Sequence[str], config_name: str) -> list[DictConfig]:
    """Compose what a command line asks for before Hydra runs it, each value of a sweep included.

    Returns the configurations found, none where the command line only asks for help or information.

    Raises:
        ConfigError: as `compose_config`.
    """
    args = get_args_parser().parse_args(list(argv))
    if args.help or args.hydra_help or args.info or args.cfg or args.shell_completion:
        return []
    searchpath = [f"hydra.searchpath=[file://{Path(args.config_dir).resolve()}]"] if args.config_dir else []
    try:
        parsed = OverridesParser.create().parse_overrides(args.overrides)
    except OverrideParseException as error:
        raise ConfigError(f"{error.override!r} cannot be read: write key=value ({error})") from None
    name = args.config_name or config_name
    return [compose_config(name, [*searchpath, *overrides]) for overrides in _variants(parsed)]


def check_folders(argv: Sequence[str], log_dir: str) -> None:
    """See whether the folder of a run can be made, which Hydra does before anything else.

    Raises:
        ConfigError: something else has its name, or its place cannot be written.
    """
    given = dict(word.partition("=")[::2] for word in argv if "=" in word)
    key = next((key for key in ("hydra.run.dir", "hydra.sweep.dir") if key in given), "paths.log_dir")
    folder = Path(given.get(key, log_dir).strip("'\"")).expanduser()
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not place.is_dir():
        raise ConfigError(f"{key}={folder} cannot be a folder: {place} is a file; choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{key}={folder} cannot be made: {place} may not be written; choose another")


def _variants(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """The first job of a sweep, then each further value of every key with the first of the others."""
    choices = [_choices(override) for override in overrides]
    first = [values[0] for values in choices]
    yield first
    for i, values in enumerate(choices):
        for value in values[1:MAX_CHOICES_CHECKED]:
            yield [*first[:i], value, *first[i + 1 :]]


def _choices(override: Override) -> list[str]:
    if not override.is_sweep_override() or override.is_hydra_override():
        return [override.input_line or ""]
    key = override.get_key_element()
    if not override.is_discrete_sweep():
        return [override.input_line or ""]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _explain(error: Exception, config_name: str, overrides: Sequence[str]) -> str:
    """One message for what went wrong in composing, with the names that would have been right."""
    messages = list(_messages(error))
    for cause, message in messages:
        if isinstance(cause, MissingConfigException) and cause.options:
            wrong = str(cause.missing_cfg_file)
            if wrong in EXTRAS:
                return f"{wrong.rpartition('/')[2]} is not installed: pip install 'patchlight[{EXTRAS[wrong]}]'"
            group, _, choice = wrong.rpartition("/")
            return f"{group}={choice} is no choice: {_did_you_mean(choice, cause.options)}"
        match = re.search(r"Could not override '([^']+)'", message)
        if match:
            return _unknown_key(match.group(1).split("@")[0], config_name, overrides)
    text = " ".join(messages[-1][1].split())
    return f"the configuration cannot be composed: {text}"


def _messages(error: BaseException | None) -> Iterator[tuple[BaseException, str]]:
    while error is not None:
        yield error, str(error)
        error = error.__cause__


def _unknown_key(key: str, config_name: str, overrides: Sequence[str]) -> str:
    kept = [o for o in overrides if not o.lstrip("+~").startswith(f"{key}=")]
    try:
        valid = compose(config_name, overrides=kept)
    except (HydraException, OmegaConfBaseException):
        valid = compose(config_name)
    parent, _, leaf = key.rpartition(".")
    node: Any = OmegaConf.select(valid, parent) if parent else valid
    while not isinstance(node, DictConfig) and parent:
        parent, _, leaf = parent.rpartition(".")
        node = OmegaConf.select(valid, parent) if parent else valid
    return unknown_key(f"{parent}.{leaf}" if parent else leaf, [str(k) for k in node])


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """The message for a key that is not there, with its valid siblings."""
    if key in OURS:
        return f"{key} has no effect on a GAN, whose optimizers step by hand: use {OURS[key]}"
    parent, _, leaf = key.rpartition(".")
    place = f"{parent} has" if parent else "there are"
    return f"{key} is no key of the configuration: {_did_you_mean(leaf, valid, place)}"


def _did_you_mean(wrong: str, valid: Iterable[str], place: str = "there are") -> str:
    names = sorted(name for name in valid if not name.startswith("_"))
    close = difflib.get_close_matches(wrong, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}{place} {', '.join(names)}"


def complete(cfg: DictConfig) -> None:
    """Fill in, in place, what follows from other keys unless it was given.

    Raises:
        ConfigError: a mandatory value is missing, or an interpolation leads nowhere.
    """
    with explained("the configuration"):
        missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]} is not set: give {missing[0]}=VALUE")
    with explained("the configuration"):
        if cfg.trainer.max_epochs is None:
            cfg.trainer.max_epochs = cfg.model.schedule.n_epochs + cfg.model.schedule.n_epochs_decay
        OmegaConf.resolve(cfg)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an error of OmegaConf's into a ConfigError of one line."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{what} cannot be resolved: {' '.join(str(error).split())}") from None


# Here, so that a process to which a launcher hands a job knows it, too.
register_resolvers()
