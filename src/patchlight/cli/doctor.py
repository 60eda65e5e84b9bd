"""`patchlight-doctor`: looks through an image set before a night of training is lost on it."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from patchlight.cli.command import CommandConfig, run_command
from patchlight.errors import ConfigError, printable
from patchlight.system.files import make_folder, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from patchlight.diagnosis.cleaning import Change
    from patchlight.diagnosis.diagnose import Diagnosis, Thresholds
    from patchlight.diagnosis.values import Expected


Limits = Annotated[list[float], Field(min_length=2, max_length=2)]
"""The lowest and the highest value."""


class DoctorConfig(CommandConfig):
    """The keys of configs/doctor.yaml."""

    examples = {"root": "data=DIR, the folder of an image set, or data=FILE"}
    takes_data = True

    root: str
    layout: Literal["auto", "paired", "unpaired"]
    labels: Literal["auto", "A", "B"] | None
    depth_a: Literal["uint8", "uint16", "float32"] | None
    depth_b: Literal["uint8", "uint16", "float32"] | None
    range_a: Limits | list[Limits] | None
    range_b: Limits | list[Limits] | None
    output: str | None
    fix: str | None
    workers: Literal["auto"] | Annotated[int, Field(ge=1)]
    min_side: int = Field(ge=1)
    max_aspect: float = Field(ge=1)
    blank_std: float = Field(ge=0)
    low_std: float = Field(ge=0)
    near_distance: int = Field(ge=0, le=64)
    near_difference: float = Field(ge=0)
    imbalance: float = Field(ge=1)
    drift_levels: int = Field(ge=0, le=255)
    drift_share: float = Field(ge=0, le=1)
    clipped_share: float = Field(ge=0, le=1)


def doctor(config: DoctorConfig) -> int:
    """Look through a set, print and write what was found; returns the number of errors.

    Raises:
        UserError: the set cannot be looked at at all, a result cannot be written, or Ctrl-C.
    """
    try:
        return _look_through(config)
    except KeyboardInterrupt:
        raise ConfigError("interrupted; nothing has been written but what is named above") from None


def _look_through(config: DoctorConfig) -> int:
    # Here, so that --help does not wait for them.
    from rich.console import Console

    from patchlight.data.decoding import Decoding
    from patchlight.diagnosis.cleaning import check_target, write_copy
    from patchlight.diagnosis.diagnose import Thresholds, diagnose
    from patchlight.diagnosis.findings import counts
    from patchlight.diagnosis.report import describe, print_table, summary
    from patchlight.diagnosis.unpacked import as_folders

    console = Console(highlight=False, soft_wrap=False, markup=False)
    root = Path(config.root).expanduser()
    fix = None if config.fix is None else Path(config.fix).expanduser()
    if fix is not None:
        check_target(fix, root)
    expected = _expected(config)
    thresholds = Thresholds(**config.model_dump(include=set(Thresholds.__dataclass_fields__)))
    output = None if config.output is None else _output_folder(config.output, root)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    workers = cores if config.workers == "auto" else config.workers
    began = time.perf_counter()
    with as_folders(root, Decoding(values=bool(expected))) as folder:
        if fix is not None and folder != root:
            raise ConfigError(f"fix={fix} copies folders, and data={root} is none: unpack it first, or leave fix out")
        with _progress(console, "reading") as begin:
            diagnosis = diagnose(folder, config.layout, config.labels, thresholds, workers, begin, expected)
        diagnosis.stock.given = root
        seconds = time.perf_counter() - began
        console.print(describe(diagnosis), soft_wrap=True)
        print_table(diagnosis, console)
        console.print(summary(diagnosis, seconds), soft_wrap=True)
        if output is not None:
            for path in _write(diagnosis, output, thresholds, seconds):
                console.print(f"written: {path}", soft_wrap=True)
        if fix is not None:
            with _progress(console, "copying") as begin:
                changes = write_copy(diagnosis, fix, thresholds.drift_levels, begin(len(diagnosis.facts)))
            console.print(_told(changes, fix, len(diagnosis.facts)), soft_wrap=True)
    return counts(diagnosis.findings)["error"]


def _expected(config: DoctorConfig) -> dict[str, Expected]:
    """What the images of the domains hold that are read by their values.

    Raises:
        UserError: the keys do not go together.
    """
    from patchlight.data.bands import limits_of
    from patchlight.diagnosis.values import Expected

    found = {}
    for domain, depth, given in (("A", config.depth_a, config.range_a), ("B", config.depth_b, config.range_b)):
        if depth is not None:
            found[domain] = Expected(depth, given)
            limits_of(domain.lower(), len(given) if given and isinstance(given[0], list) else 1, depth, given)
        elif given is not None:
            raise ConfigError(f"range_{domain.lower()}={given} is of values: say depth_{domain.lower()}, too")
    if found and config.fix is not None:
        raise ConfigError("fix= writes images of 8 bits: leave it out with depth_a and depth_b")
    return found


def _output_folder(output: str, root: Path) -> Path:
    """Made now, so that minutes of reading are not lost because it cannot be."""
    folder = Path(output).expanduser()
    # Not by `Path.resolve`, which raises an error of its own where links go in circles.
    if os.path.isdir(root) and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise ConfigError(f"output={output} is within data={root}, which is never changed: choose another folder")
    make_folder(folder)
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"output={output} cannot be written to: choose another folder, or null for the table only")
    return folder


def _write(diagnosis: Diagnosis, folder: Path, thresholds: Thresholds, seconds: float) -> Iterator[Path]:
    """Write the report and the contact sheet, and name them; an old sheet goes where there is nothing to show."""
    from patchlight.diagnosis.report import as_json, output_files, summary
    from patchlight.diagnosis.sheet import worst_sheet

    report, sheet = output_files(folder)
    title = f"patchlight-doctor: {printable(diagnosis.stock.shown.resolve().name)}"
    picture = worst_sheet(diagnosis, title, summary(diagnosis, seconds), thresholds)
    try:
        write_json(report, as_json(diagnosis, thresholds, seconds))
        yield report
        if picture is None:
            sheet.unlink(missing_ok=True)
        else:
            picture.save(sheet)
            yield sheet
    except OSError as error:
        raise ConfigError(f"output={folder} cannot be written to ({error.strerror}): choose another folder") from None


def _told(changes: list[Change], fix: Path, files: int) -> str:
    """What the copy is, and why files differ in it."""
    reasons = Counter((change.deed, reason) for change in changes for reason in change.reasons)
    left = sum(change.deed == "left out" for change in changes)
    details = ", ".join(f"{number} {deed} ({reason})" for (deed, reason), number in sorted(reasons.items()))
    said = f"cleaned copy in {fix}: {files - left} files, {len(changes) - left} of them rewritten, {left} left out"
    return f"{said}\n{details}; changes.json lists them" if changes else said


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Callable[[int], Callable[[], None]]]:
    """A bar on a terminal. It yields what takes the number of steps, and returns what is to be called after each."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def begin(total: int) -> Callable[[], None]:
            task = progress.add_task(what, total=total)
            return lambda: progress.advance(task)

        yield begin


main = partial(run_command, "doctor", DoctorConfig, doctor)
