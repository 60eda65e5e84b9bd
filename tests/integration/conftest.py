"""Running the command in this process, as its console script would."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from patchlight.data import SyntheticSet
from patchlight.data.sources import Pairing


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit status and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def patchlight_train(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Command]:
    """Calls `patchlight-train` with the arguments given, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        from patchlight.cli.train import main

        monkeypatch.setattr(sys, "argv", ["patchlight-train", *arguments])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        printed = capsys.readouterr()
        return Outcome(status, printed.out, printed.err)

    logger = logging.getLogger()
    level, handlers = logger.level, list(logger.handlers)
    yield run
    logger.setLevel(level)
    logger.handlers[:] = handlers  # those of the run write to what pytest has closed by now


@pytest.fixture(scope="session")
def tiny_sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Pairing], Path]:
    """The folder of a small synthetic set, rendered once."""
    root = tmp_path_factory.mktemp("sets")

    def folder(pairing: Pairing) -> Path:
        SyntheticSet(n_train=8, n_test=3, size=64).write(root / pairing, pairing)
        return root / pairing

    return folder
