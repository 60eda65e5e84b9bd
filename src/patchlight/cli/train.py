"""`patchlight-train`: train a model, or with `-m` a sweep of models."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from patchlight.config.command_line import Command, read_command_line
from patchlight.config.compose import config_dir, register_resolvers
from patchlight.config.naming import choose_run_id
from patchlight.config.plan import choose_sweep
from patchlight.config.validation import validate
from patchlight.errors import ConfigError, UserError
from patchlight.sweeps.job import run_job
from patchlight.sweeps.processes import sigterm_reaches_all
from patchlight.system.warnings import gc_paused


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _train(cfg: DictConfig) -> float | None:
    try:
        return run_job(cfg)
    except UserError as error:
        _stop(error)


def main() -> None:
    """The command: its arguments are Hydra's overrides, `key=value`."""
    choose_run_id()
    choose_sweep(None, [])
    register_resolvers()
    try:
        command = read_command_line(sys.argv[1:], "train")
        if command is not None:
            with gc_paused():
                _check(command)
    except UserError as error:
        _stop(error)
    if command is not None and command.side_by_side:
        with sigterm_reaches_all(Path(command.hydra.sweep.dir)):
            _train()
    else:
        _train()


def _check(command: Command) -> None:
    """Look at all that is asked for before the first job of it begins."""
    for cfg in command.configs:
        validate(cfg)
    _check_folders(sys.argv[1:], command.configs[0].paths.log_dir)
    if command.plan is not None:
        from patchlight.runs.objective import check_search

        check_search(command)
        name = command.hydra.runtime.choices.get("sweep")
        choose_sweep(command.plan.folder(name, command.searches) if name else None, command.plan.keys)


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
        raise ConfigError(f"{key}={folder} cannot be made: {place} may not be written; choose another")


def _stop(error: UserError) -> NoReturn:
    """One message and exit status 1, no traceback."""
    print(f"patchlight-train: {error}", file=sys.stderr)
    raise SystemExit(1)
