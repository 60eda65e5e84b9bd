"""Where the plain ways of doing things lie, which are compared with."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def plain_dir() -> Path:
    """The folder of the plain modules: inside an installed package, else `benchmarks/` at the top level."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "plain"
    return installed if installed.is_dir() else package.parents[1] / "benchmarks"


def plain_module(name: str) -> ModuleType:
    """A plain module by its name. They import nothing of this project, and one another by their names alone."""
    folder = str(plain_dir())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)
