"""Processes that take turns, so that two ways of doing the same are timed alternately: both sides of the line."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from patchlight.errors import BenchError


@dataclass(frozen=True)
class Turn:
    """The report of one turn: its seconds, the most memory that the process ever had, and notes by their names."""

    seconds: float
    peak_bytes: int
    notes: dict[str, Any]


class TimedProcess:
    """A child process with one thing to do, again and again.

    `command` makes its command line from the file descriptor of its line: a `Connection`, on which it receives a number
    of times and sends a `Turn`. Its terminal is a pseudo-terminal whose output is kept in `log`, so that a progress bar
    costs what it costs a user.

    Raises:
        BenchError: the process ended by itself.
    """

    def __init__(self, command: Callable[[int], list[str]], log: Path) -> None:
        self._log = log
        self._line, theirs = Pipe()
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 160))
        self._process = subprocess.Popen(
            command(theirs.fileno()), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
            pass_fds=(theirs.fileno(),), start_new_session=True,
            env={**os.environ, "TERM": "xterm", "WANDB_SILENT": "true"},
        )  # fmt: skip
        theirs.close()
        os.close(slave)
        self._drain = threading.Thread(target=self._keep_output, args=(master,), daemon=True)
        self._drain.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def turn(self, times: int) -> Turn:
        """Let the process do its task so many times."""
        try:
            self._line.send(times)
            return self._line.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            self.close()
            said = self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
            raise BenchError(
                f"a process that was to be timed ended by itself: {' '.join(said.split())[-800:]}"
            ) from None

    def close(self) -> None:
        """End the process and those that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._drain.join(timeout=5)
        self._line.close()

    def _keep_output(self, master: int) -> None:
        # An OSError says that nobody has the terminal any more.
        with self._log.open("wb") as file, os.fdopen(master, "rb", buffering=0) as terminal, suppress(OSError):
            while piece := terminal.read(65536):
                file.write(piece)
                file.flush()


def serve(line: int, run: Callable[[], object], **notes: Any) -> None:
    """Run a task as often as each turn asks for, until there are no more turns; `line` is a file descriptor."""
    connection = Connection(line)
    while times := _next_turn(connection):
        wait_for_device()
        started = time.perf_counter()
        for _ in range(times):
            run()
        wait_for_device()
        connection.send(Turn(time.perf_counter() - started, peak_bytes(), notes))


def _next_turn(line: Connection) -> int:
    """The number of times of the next turn; 0 where there is none."""
    try:
        return int(line.recv())
    except (EOFError, ConnectionError):
        return 0


def wait_for_device() -> None:
    """Let the device finish what it was given, or its work would be counted elsewhere."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes() -> int:
    """The most memory that there ever was: of the GPU where there is one, else of this process (Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Turns(Callback):
    """Makes a training wait for its turns: a turn is so many batches, with all that the trainer does between them.

    `line` is the file descriptor of the line to the process that gives the turns.
    """

    def __init__(self, line: int) -> None:
        self._line = Connection(line)
        self._left = 0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._next(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._left -= 1
        if self._left == 0:
            wait_for_device()
            self._line.send(Turn(time.perf_counter() - self._started, peak_bytes(), {}))
            self._next(trainer)

    def _next(self, trainer: Trainer) -> None:
        self._left = _next_turn(self._line)
        trainer.should_stop = self._left == 0
        self._started = time.perf_counter()
