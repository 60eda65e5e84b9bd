"""`patchlight-train`: train a model, or with `-m` a sweep of models."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from patchlight.config.command_line import FREE_MAPPINGS, Command, read_command_line, start_hydra, with_free_keys
from patchlight.config.compose import complete, register_resolvers
from patchlight.config.validation import validate
from patchlight.errors import ConfigError, one_message
from patchlight.sweeps.multirun import sigterm_reaches_all
from patchlight.system.job_record import JobRecord, begin_command, leave_out_current_folder, search_folders
from patchlight.system.warnings import gc_paused


def main() -> None:
    """The command: its arguments are Hydra's overrides, `key=value`."""
    begin_command()
    sys.argv[1:] = with_free_keys(sys.argv[1:], FREE_MAPPINGS)
    register_resolvers()
    with one_message("patchlight-train"):
        command = read_command_line(sys.argv[1:], "train")
        if command is not None:
            search_folders()
            with gc_paused():
                _check(command)
            if not sys.argv[1:]:
                print(_about_to_train(command.configs[0]), flush=True)
    with sigterm_reaches_all(Path(command.hydra.sweep.dir)) if command and command.side_by_side else nullcontext():
        start_hydra("train", _job)


def _job(cfg: DictConfig) -> float | None:
    """Train, and return the objective; called by Hydra, in a sweep once for each job."""
    leave_out_current_folder()  # in a process of its own, such as a job of SLURM's
    search_folders()
    with gc_paused():
        from patchlight.runs.run import train_checked

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from patchlight.sweeps.job import run_job

        return run_job(cfg)
    complete(cfg)  # it was validated with the command line
    return train_checked(cfg)


def _about_to_train(cfg: DictConfig) -> str:
    """What a command line without words means, and what is likelier to be meant."""
    schedule = cfg.model.schedule
    epochs = schedule.n_epochs + schedule.n_epochs_decay
    return (
        f"patchlight-train without arguments trains for {epochs} epochs on built-in images, which it renders "
        f"into {cfg.data.root} first. For a demo of minutes give experiment=demo; for your own images "
        f"data=paired data.root=FOLDER, or data=unpaired data.root=FOLDER; --help lists the rest."
    )


def _check(command: Command) -> None:
    """Look at all that is asked for before the first job of it begins."""
    for cfg in command.configs:
        validate(cfg)
    _check_folders(sys.argv[1:], command.configs[0].paths.log_dir)
    if command.plan is not None:
        from patchlight.sweeps.search import check_search

        check_search(command)
        name = command.hydra.runtime.choices.get("sweep")
        folder = command.plan.folder(name, command.searches) if name else None
        replace(JobRecord.current(), sweep=folder, swept=tuple(command.plan.keys)).hand_on()


def _check_folders(argv: Sequence[str], log_dir: str) -> None:
    """See whether the folder of a run can be made, which Hydra does before anything else.

    Raises:
        ConfigError: something else has its name, or its place cannot be written.
    """
    given = dict(word.partition("=")[::2] for word in argv if "=" in word)
    key = next((key for key in ("hydra.run.dir", "hydra.sweep.dir") if key in given), "paths.log_dir")
    folder = Path(given.get(key, log_dir).strip("'\"")).expanduser()
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise ConfigError(f"{key}={folder} cannot be made ({error.strerror}); choose another") from None
    place = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not os.path.isdir(place):
        raise ConfigError(f"{key}={folder} cannot be a folder: {place} is a file; choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{key}={folder} cannot be made: {place} is not writable; choose another")
