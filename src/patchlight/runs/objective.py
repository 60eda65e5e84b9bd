"""The figure that a run returns, checked before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from patchlight.build import build_method, data_channels, errors_for_key
from patchlight.callbacks import Quality
from patchlight.config.command_line import Command
from patchlight.config.validation import locate
from patchlight.errors import ConfigError, UserError
from patchlight.methods import TranslationMethod
from patchlight.runs.monitors import unknown_figure

STAGES = ("val", "test")


def check_objective(
    name: str | None, quality: Quality | None, method: TranslationMethod, stages: Sequence[str] = STAGES
) -> None:
    """See whether a run has the figure that `objective` names; `stages` are those that it has images for.

    Raises:
        ConfigError: it has not; the message lists those that it has.
    """
    if name is None:
        return
    if quality is None:
        raise ConfigError(f"objective={name} is a figure of callbacks.quality, which is not there: add it")
    stage = name.partition("/")[0]
    if stage in STAGES and stage not in stages:
        raise ConfigError(f"objective={name} needs images of the {stage} split, and the run looks at none")
    valid = [f"{stage}/{figure}" for stage in stages for figure in quality.figure_names(method)]
    if name not in valid:
        raise unknown_figure("objective", name, valid)


def check_search(command: Command) -> None:
    """See, before the first job, whether there is an objective and whether the sweeper goes in its direction.

    Raises:
        ConfigError: there is none, or the direction is the other one.
    """
    cfg = command.configs[0]
    name = cfg.objective
    quality = _check_without_data(cfg, name) if name is not None else None
    if not command.searches:
        return
    if name is None:
        raise ConfigError("objective is not set, by which the sweep would choose: give objective=val/l1, or another")
    found = direction(command.hydra)
    higher = quality.higher_is_better(name) if quality is not None else None
    if higher is not None and found != (needed := "maximize" if higher else "minimize"):
        better = "higher" if higher else "lower"
        raise ConfigError(f"objective={name} is better the {better} it is: give hydra.sweeper.direction={needed}")


def direction(hydra: Any) -> str | None:
    """`minimize` or `maximize`, as the sweeper has it; None of a grid, which has no objective."""
    found: Any = hydra.sweeper.get("direction")
    if found is None or isinstance(found, str):
        return found
    if OmegaConf.is_list(found):
        raise ConfigError("hydra.sweeper.direction: a run has one objective, so give one direction")
    return str(found.name)


def score(value: float | None, towards: str) -> float:
    """What a sweeper is told of a job's objective: of none and of not a number the worst there is."""
    if value is None or math.isnan(value):
        return math.inf if towards == "minimize" else -math.inf
    return value


def _check_without_data(cfg: DictConfig, name: str) -> Quality | None:
    """Check the name as far as the configuration alone can tell; returns what measures it."""
    nodes = [(key, node) for key, node in (cfg.callbacks or {}).items() if node is not None]
    try:
        with torch.device("meta"):  # nothing is computed with these networks
            method = build_method(cfg.model, data_channels(cfg.data), for_training=False)
        quality: Quality | None = None
        for key, node in nodes:
            if locate(node["_target_"], f"callbacks.{key}") is Quality:
                with errors_for_key(f"callbacks.{key}"):
                    quality = instantiate(node, _convert_="all")
        if quality is not None:
            size: Any = OmegaConf.to_object(cfg.data)["image_size"]  # type: ignore[index,call-overload]
            quality.prepare(size if "crop" in cfg.data.get("preprocess", "crop") else None, {})
    except UserError:
        return None  # what else is wrong with a job is the job's own to say
    check_objective(name, quality, method)
    return quality
