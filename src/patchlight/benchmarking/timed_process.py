"""A process that takes its turn when it is told to, so that two ways of doing the same can be timed alternately."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from patchlight.errors import BenchError


@dataclass(frozen=True)
class Turn:
    """What a process reports of one turn: its seconds, the most memory it ever had, and what it has besides to say."""

    seconds: float
    peak_bytes: int
    notes: dict[str, Any]


class TimedProcess:
    """A child process with one thing to do, again and again.

    `command` makes its command line from the file descriptors of its line, to be read from and written to. Its terminal
    is a pseudo-terminal whose output is kept in `log`, so that a progress bar costs what it costs a user.

    Raises:
        BenchError: the process ended by itself.
    """

    def __init__(self, command: Callable[[int, int], list[str]], log: Path) -> None:
        self._log = log
        commands, self._commands = os.pipe()
        answers, given = os.pipe()
        self._answers = os.fdopen(answers, encoding="utf-8")
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 160))
        self._process = subprocess.Popen(
            command(commands, given), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
            pass_fds=(commands, given), start_new_session=True,
            env={**os.environ, "TERM": "xterm", "WANDB_SILENT": "true"},
        )  # fmt: skip
        for descriptor in (commands, given, slave):
            os.close(descriptor)
        self._drain = threading.Thread(target=self._keep_output, args=(master,), daemon=True)
        self._drain.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def turn(self, times: int) -> Turn:
        """Let it do its thing so many times."""
        try:
            os.write(self._commands, f"{times}\n".encode())
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            said = self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
            raise BenchError(f"a process that was to be timed ended by itself: {' '.join(said.split())[-800:]}")
        answer = json.loads(line)
        return Turn(answer.pop("seconds"), answer.pop("peak_bytes"), answer)

    def close(self) -> None:
        """End the process and those that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._drain.join(timeout=5)
        self._answers.close()
        with suppress(OSError):
            os.close(self._commands)

    def _keep_output(self, master: int) -> None:
        with self._log.open("wb") as file, os.fdopen(master, "rb", buffering=0) as terminal:
            while True:
                try:
                    piece = terminal.read(65536)
                except OSError:  # nobody has the terminal any more
                    return
                if not piece:
                    return
                file.write(piece)
                file.flush()
