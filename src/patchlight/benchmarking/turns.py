"""Taking turns, on the side of the process that is timed."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Line:
    """The line to the process that gives the turns: it sends a number of times, and gets seconds and bytes.

    `read` and `write` are file descriptors.
    """

    def __init__(self, read: int, write: int) -> None:
        self._commands = os.fdopen(read, encoding="utf-8", closefd=False)
        self._write = write

    def wait(self) -> int:
        """The number of times of the next turn; 0 where there is none."""
        line = self._commands.readline()
        return int(line) if line.strip() else 0

    def answer(self, seconds: float, **notes: Any) -> None:
        """Report a turn."""
        text = json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), **notes})
        os.write(self._write, f"{text}\n".encode())


def serve(line: Line, run: Callable[[], object], **notes: Any) -> None:
    """Run it as often as each turn asks for, until there are no more turns."""
    while times := line.wait():
        wait_for_device()
        started = time.perf_counter()
        for _ in range(times):
            run()
        wait_for_device()
        line.answer(time.perf_counter() - started, **notes)


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

    `read` and `write` are those of `Line`.
    """

    def __init__(self, read: int, write: int) -> None:
        self._line = Line(read, write)
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
            self._line.answer(time.perf_counter() - self._started)
            self._next(trainer)

    def _next(self, trainer: Trainer) -> None:
        self._left = self._line.wait()
        trainer.should_stop = self._left == 0
        self._started = time.perf_counter()
