"""What a run says: on the terminal, with line breaks between values only, and in the log file of its folder."""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

from rich import get_console
from rich.console import Console
from rich.table import Table

LOG_FILE = "train.log"

LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"

WITHIN_A_VALUE = re.compile(r"(?<=\d) (?=(?:x|px|M|k|s|%|img/s|MiB|GB)\b)|(?<=\dx) (?=\d)|(?<=\d x) (?=\d)")
"""Spaces at which no line ends: `70 x 70 px`."""

_PLACEHOLDER = "\0"

logger = logging.getLogger("patchlight.run")
"""Takes what a run says, for the run's log alone: the terminal has it already."""
logger.addHandler(logging.NullHandler())
logger.setLevel(logging.INFO)
logger.propagate = False


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` characters, unless a single value is longer; all but the first begin with `indent`."""
    protected = WITHIN_A_VALUE.sub(_PLACEHOLDER, text)
    lines = textwrap.wrap(
        protected, max(width, len(indent) + 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_PLACEHOLDER, " ") for line in lines]


def join(items: Sequence[str], width: int, indent: str = "", separator: str = "  ") -> list[str]:
    """Items side by side, in lines of at most `width` characters, none of them broken; see `wrap`."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}{separator}{item}" if lines[-1].strip() else f"{lines[-1]}{item}"
        if len(longer) > width and lines[-1].strip():
            lines.append(f"{indent}{item}")
        else:
            lines[-1] = longer
    return lines


def say(*lines: str, error: bool = False, wrapped: bool = False, indent: str = "  ") -> None:
    """Print lines, above a progress bar that may be there, and log them; to stderr if it is an `error`.

    To a terminal they are wrapped, unless they are `wrapped` already; what goes on below begins with `indent`.
    """
    console = Console(stderr=True) if error else get_console()
    for line in lines:
        short = wrap(line, console.width, indent) if console.is_terminal and not wrapped else [line]
        console.print("\n".join(short), soft_wrap=True, markup=False, highlight=False)
        logger.log(logging.WARNING if error else logging.INFO, "%s", line)


def say_table(table: Table) -> None:
    """Print a table, and log it."""
    get_console().print(table, markup=False, highlight=False)
    plain = Console(file=StringIO(), width=100)
    with plain.capture() as captured:
        plain.print(table, markup=False, highlight=False)
    logger.info("\n%s", captured.get().rstrip())


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """Keep what is said and what is logged meanwhile, by whomever, in `train.log` of a folder, behind what is there.

    Which records there are is up to the levels of the loggers, as Hydra's `job_logging` or a script has set them. The
    file is made with the first record. Where that logging writes this very file already, it is left to do so.
    """
    path = (folder / LOG_FILE).absolute()
    root = logging.getLogger()
    own = [h for h in root.handlers if isinstance(h, logging.FileHandler) and Path(h.baseFilename) == path]
    handler = own[0] if own else _LogFile(path, encoding="utf-8", delay=True)
    if not own:
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        root.addHandler(handler)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        if not own:
            root.removeHandler(handler)
            handler.close()


class _LogFile(logging.FileHandler):
    """A file whose disk may be full: then there are no further lines, and the run says what is wrong itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)  # opens the file at first
        except OSError:
            self._end()

    def close(self) -> None:
        with suppress(OSError):  # what was not yet written
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, a name of Python's
        self._end()

    def _end(self) -> None:
        self.setLevel(logging.CRITICAL + 1)
