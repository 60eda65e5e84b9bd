"""Modules of a user's own, found in two folders of the command without being installed."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from patchlight.system.job_record import JobRecord


def choose_folders(config_dir: str | None) -> None:
    """Choose where this command and the processes that it starts look for a user's modules.

    These are the folder of `--config-dir`, if there is one, and the current folder.
    """
    chosen = [*([config_dir] if config_dir else []), "."]
    folders = tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in chosen))
    replace(JobRecord.current(), modules=folders).hand_on()


def module_folders() -> list[str]:
    """The folders in which modules are looked for after all that is installed."""
    return list(JobRecord.current().modules) or [os.getcwd()]


def search_folders() -> None:
    """Make the modules in these folders importable, at the end of the path: what is installed goes before them."""
    sys.path += [folder for folder in module_folders() if folder not in sys.path]


def leave_out_current_folder() -> None:
    """Take back that `python -m` looks for modules in the current folder before all that is installed."""
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]


def where_looked(module: str, error: Exception) -> str:
    """A sentence's end about the folders, where a module was not found, or another one of its name goes before it."""
    top = module.partition(".")[0]
    places = module_folders()
    if isinstance(error, ModuleNotFoundError) and error.name in (top, module):
        return f"; it is neither installed nor in {' or '.join(places)}"
    own = [path for place in places for path in (Path(place, f"{top}.py"), Path(place, top)) if path.exists()]
    found = getattr(sys.modules.get(top), "__file__", None)
    if own and found and isinstance(error, AttributeError) and own[0] not in (Path(found), Path(found).parent):
        return f"; {found} is installed and goes before {own[0]}: choose another name for yours"
    return ""
