"""The commands as they are typed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """Runs a command, `import_weights` or `train`, in an empty folder: exit status and both outputs."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"patchlight-{command}", *arguments])
        capsys.readouterr()
        status = 0
        try:
            import_module(f"patchlight.cli.{command}").main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return run
