"""A search by Optuna that was stopped goes on with what is left of it."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

from omegaconf import DictConfig, open_dict, read_write

# Of Optuna's own code, which whoever runs a search cannot change.
os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")


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
