"""Commands of the package, called in this process as their console scripts would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import pytest


class Outcome(NamedTuple):
    """What a command left behind: exit status and what it printed."""

    status: int
    out: str
    err: str


Typed = Callable[..., Outcome]
"""Takes the name of a module of `patchlight.cli`, such as `train` or `import_weights`, and its arguments."""


def call_main(module: str, *arguments: str) -> int:
    """Call a command, whose module is only now imported; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"patchlight-{module}", *arguments])
        try:
            import_module(f"patchlight.cli.{module}").main()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
