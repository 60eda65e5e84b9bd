"""Commands in processes of their own, forked from one that has imported the libraries.

A Python that imports PyTorch and Lightning takes six seconds of a processor, and a training with two ranks starts two.
The fork of a server that has imported them, and has done nothing else, begins in a tenth of a second. It is a process
like another: with its own folder, environment and group of processes, and ended by signals.
"""

from __future__ import annotations

import atexit
import gc
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from multiprocessing import Pipe, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from composition import remember_compositions

WARMED = "warmed"
"""The module that the server imports before anything else."""

SERVER = get_context("forkserver")

FORK = get_context("fork")


@dataclass(frozen=True)
class Program:
    """What `python -m MODULE ARGUMENTS` is started with."""

    module: str
    arguments: Sequence[str]
    folder: Path
    output: tuple[str, str]
    environment: dict[str, str]
    path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))

    def run(self) -> None:
        """Become the program, in a process of its own."""
        for place, file in zip((1, 2), self.output, strict=True):
            os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), place)
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        sys.path[:] = self.path
        sys.argv[:] = [self.module, *self.arguments]
        gc.freeze()
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)


class Forked:
    """A forked `patchlight-train` or other verb, with the part of `subprocess.Popen` that the tests use.

    Further ranks are processes as in a user's training, `python -m patchlight.runs.worker`, unless there are `spares`:
    so many times one of them is a process that is forked before the command begins.
    """

    def __init__(self, *arguments: str, folder: Path, spares: int = 0) -> None:
        self._files = [tempfile.NamedTemporaryFile("r", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        self._printed: list[str] = []
        out, err = (file.name for file in self._files)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        # As `python -m` begins its list of folders.
        program = Program("patchlight", arguments, folder, (out, err), environment, (str(folder), *sys.path))
        start_server()
        self._process = SERVER.Process(target=_command, args=(program, tuple(sys.path), spares))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        weakref.finalize(self, _end, self._process)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what was printed, and complained of."""
        self._process.join(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(["patchlight"], timeout)
        for file in self._files:
            with file:
                file.seek(0)
                self._printed.append(file.read())
        self._files = []
        out, err = self._printed
        return out, err

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


@cache
def start_server() -> None:
    """Start the process that all others are forked from; it has one thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parent)  # its modules go before all others
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        SERVER.set_forkserver_preload([WARMED])
        forkserver.ensure_running()


def run_forked(*arguments: str, folder: Path, spares: int = 0, timeout: float = 1200) -> str:
    """Run a command to its end; what it printed.

    Raises:
        AssertionError: the command has failed.
    """
    process = Forked(*arguments, folder=folder, spares=spares)
    out, err = process.communicate(timeout)
    assert process.returncode == 0, err
    return out


def _end(process: BaseProcess) -> None:
    """Leave nothing of a command that nobody waits for any more."""
    if process.exitcode is None and process.pid is not None:
        with suppress(ProcessLookupError):  # it has not begun
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def _command(program: Program, path: tuple[str, ...], spares: int) -> None:
    os.setsid()
    remember_compositions(pytest.MonkeyPatch())
    waiting = [_Spare(replace(program, module="patchlight.runs.worker", path=path)) for _ in range(spares)]
    if waiting:
        launcher: Any = import_module("patchlight.parallel.launcher")
        launcher.subprocess = SimpleNamespace(Popen=lambda command, env: waiting.pop(0).start(command, env))
    try:
        program.run()
    finally:
        for spare in waiting:
            spare.give_up()  # before the end is waited for
        atexit._run_exitfuncs()


class _Spare:
    """A process that waits to become a rank."""

    def __init__(self, program: Program) -> None:
        theirs, self._line = Pipe(duplex=False)
        self._process: BaseProcess = FORK.Process(target=_become, args=(theirs, program))
        self._process.start()
        self.kill: Callable[[], None] = self._process.kill

    def start(self, command: Sequence[str], environment: dict[str, str]) -> _Spare:
        """Run what `subprocess.Popen` would."""
        assert list(command[:4]) == [sys.executable, "-P", "-m", "patchlight.runs.worker"]
        self._line.send((command[4:], dict(environment)))
        return self

    def give_up(self) -> None:
        self._line.send(None)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self.poll()


def _become(line: Connection, program: Program) -> None:
    given = line.recv()
    if given is not None:
        arguments, environment = given
        try:
            replace(program, arguments=arguments, environment=environment).run()
        finally:
            atexit._run_exitfuncs()
