"""A sweep whose sweeper chooses the values by an objective: checked before its first job."""

from __future__ import annotations

import logging
import math
import os
import warnings
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from patchlight.build import build_method, data_channels
from patchlight.callbacks import Quality
from patchlight.config.attribution import errors_for_key
from patchlight.config.command_line import Command
from patchlight.config.validation import locate
from patchlight.errors import ConfigError, UserError
from patchlight.runs.monitors import check_objective

# Of Optuna's own code, which whoever runs a search cannot change.
os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")


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


def resume_study(hydra: DictConfig) -> None:
    """Set the sweeper, in place, to what its study lacks of `n_trials` finished trials.

    A trial that was running when the search was stopped is made again, with its values, so that it meets its folder.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    sweeper = hydra.sweeper
    if sweeper.storage is None:
        return
    try:
        study = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage)
    except KeyError:
        return  # none yet
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            _make_again(study, trial)
    complete = sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
    print(f"going on with the search: {complete} of {sweeper.n_trials} trials are there")
    with read_write(hydra), open_dict(sweeper):
        sweeper.n_trials = max(0, sweeper.n_trials - complete)
        if sweeper.sampler.get("seed") is not None:
            # The same seed would propose again what it proposed at first.
            sweeper.sampler.seed += len(trials)


def _make_again(study: Any, trial: Any) -> None:
    from optuna.exceptions import ExperimentalWarning
    from optuna.trial import TrialState

    study.tell(trial.number, state=TrialState.FAIL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.enqueue_trial(trial.params)
