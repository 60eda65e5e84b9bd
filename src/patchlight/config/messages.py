"""Says what is wrong with a configuration that cannot be composed, and which names would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from patchlight.config.files import find, line_of

REPLACED_KEYS = {
    "trainer.gradient_clip_val": "model.clip_g and model.clip_d",
    "trainer.gradient_clip_algorithm": "model.clip_g and model.clip_d, which bound the norm",
    "trainer.accumulate_grad_batches": "model.accumulate",
}
"""Settings of Lightning's that have no effect in manual optimization, and the keys to use in their place."""

EXTRAS = {
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/ray": "ray",
    "hydra/sweeper/optuna": "optuna",
}
"""Launchers and sweepers that are plugins of Hydra, and what of this package brings them."""


def explain(error: Exception, config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """One message for what went wrong in composing, with the names that would have been right."""
    messages = list(_messages(error))
    for cause, message in messages:
        if isinstance(cause, MissingConfigException) and cause.options:
            wrong = str(cause.missing_cfg_file)
            if wrong in EXTRAS:
                return f"{wrong.rpartition('/')[2]} is not installed: pip install 'patchlight[{EXTRAS[wrong]}]'"
            group, _, choice = wrong.rpartition("/")
            place = "" if any(f"{group}=" in o for o in overrides) else _place(choice, overrides, folders)
            return f"{place}{group}={choice} is no choice: {_did_you_mean(choice, cause.options)}"
        match = re.search(r"Could not override '([^']+)'", message)
        if match:
            place = _place(match[1], overrides, folders) if message.startswith("In '") else ""
            return place + _unknown_key(match[1].split("@")[0], config_name, overrides)
    return f"the configuration cannot be composed: {one_line(messages[-1][1])}"


def _place(word: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """The first line with a word in the files that these overrides choose, with a colon; nothing if there is none."""
    for group, choice in (override.lstrip("+").partition("=")[::2] for override in overrides):
        path = find(f"{group}/{choice}", folders)
        line = line_of(path, word) if path is not None else None
        if line is not None:
            return f"{path}, line {line}: "
    return ""


def one_line(text: object) -> str:
    """A message without line breaks."""
    return " ".join(str(text).split())


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
    if key in REPLACED_KEYS:
        return f"{key} has no effect on a GAN, whose optimizers step by hand: use {REPLACED_KEYS[key]}"
    parent, _, leaf = key.rpartition(".")
    place = f"{parent} has" if parent else "there are"
    return f"{key} is no key of the configuration: {_did_you_mean(leaf, valid, place)}"


def _did_you_mean(wrong: str, valid: Iterable[str], place: str = "there are") -> str:
    names = sorted(name for name in valid if not name.startswith("_"))
    close = difflib.get_close_matches(wrong, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}{place} {', '.join(names)}"
