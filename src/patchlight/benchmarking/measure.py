"""The measurements: two ways of doing the same, each in a process of its own, in turns."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from patchlight.benchmarking.cases import (
    IMPORTS,
    MISTAKES,
    OVERHEAD,
    SCALING,
    STEPS,
    TRANSLATIONS,
    Scale,
    StepCase,
    matmul_peak,
    plain_dir,
)  # fmt: skip
from patchlight.benchmarking.ours import training_overrides, write_inputs
from patchlight.benchmarking.results import Comparison, exponent
from patchlight.benchmarking.turns import TimedProcess
from patchlight.errors import BenchError
from patchlight.system.devices import device_of, has_bf16_units


class Bench:
    """Measures in `folder`, where built-in images and logs are put; `report_progress` takes each part's name.

    `rounds` is how often each way takes its turn, and `turn_seconds` about how long a turn takes. `precision` is
    `trainer.precision` for ours; the plain way computes in float32. `root` is a paired set of side-by-side files, None
    for built-in images.
    """

    def __init__(
        self, folder: Path, accelerator: str, precision: str, rounds: int, root: Path | None,
        report_progress: Callable[[str], object], turn_seconds: float = 2.0,
    ) -> None:  # fmt: skip
        self.folder = folder.resolve()
        self.device = device_of(accelerator)
        self.precision = precision
        self.rounds = rounds
        self.root = root.resolve() if root is not None else None
        self.report_progress = report_progress
        self.turn_seconds = turn_seconds
        self._numbers = itertools.count()
        self.folder.mkdir(parents=True, exist_ok=True)

    def peaks(self) -> dict[str, float]:
        """Operations per second of a matrix product, by type."""
        self.report_progress("matrix products")
        # Without units for it, bfloat16 takes minutes.
        types = [torch.float32, *([torch.bfloat16] if has_bf16_units(self.device) else [])]
        return {str(dtype).removeprefix("torch."): matmul_peak(self.device, dtype) for dtype in types}

    def steps(self, cases: Sequence[StepCase] = STEPS) -> list[Comparison]:
        """Training steps of `patchlight-train` against those of the plain loop."""
        found = []
        for case in cases:
            self.report_progress(f"step: {case.name}")
            found.append(self._compare(case.name, {"do": "plain_step", "case": asdict(case)}, self._training(case)))
        return found

    def overhead(self, cases: Sequence[StepCase] = OVERHEAD) -> list[Comparison]:
        """What a whole training takes beside a bare loop over the same networks."""
        found = []
        for case in cases:
            self.report_progress(f"overhead: {case.name}")
            bare = {"do": "bare_step", "case": asdict(case), "precision": self.precision}
            comparison = self._compare(case.name, bare, self._training(case))
            comparison.against = "bare loop, same networks"
            comparison.notes["overhead"] = 1 / comparison.ratio - 1
            found.append(comparison)
        return found

    def input(self, images: int = 200) -> list[Comparison]:
        """Pairs from files to what the step sees, in one process with one thread: seconds per pair."""
        root = str(self.root or self._built_in())
        plain = {"do": "plain_input", "root": root, "images": images}
        found = []
        for name, cache in (("input, read each time", 0.0), ("input, from the cache", 4.0)):
            self.report_progress(name)
            ours = {"do": "our_input", "root": root, "images": images, "cache": cache}
            found.append(self._compare(name, plain, ours, per=images))
        return found

    def translate(
        self, backends: Sequence[str] = ("torch",), images: int = 24, cases: Sequence[StepCase] = TRANSLATIONS
    ) -> list[Comparison]:
        """Files through the generators of some methods: seconds per image."""
        found = []
        for case in cases:
            name = f"translate, {case.name}"
            self.report_progress(f"{name}: a checkpoint and images")
            checkpoint, files = self.folder / f"{case.method}.ckpt", self.folder / "inputs"
            # In a process of its own, because this one may be in the middle of Hydra's work already.
            with self._process({"do": "checkpoint", "case": asdict(case), "path": str(checkpoint)}) as writer:
                writer.turn(1)
            write_inputs(self.root or self._built_in(), case.size, images, files)
            plain = {"do": "plain_translation", "checkpoint": str(checkpoint), "files": str(files)}
            for backend in backends:
                label = name if backend == "torch" else f"{name}, {backend}"
                self.report_progress(label)
                ours = {**plain, "do": "our_translation", "backend": backend}
                found.append(self._compare(label, plain, ours, per=images))
        return found

    def start(self, case: StepCase = STEPS[0], small: StepCase = OVERHEAD[-1]) -> list[Comparison]:
        """Starts of `patchlight-train`: to the end of the first step, to the help and to refused mistakes.

        The first step of `case` is compared with a script that has the plain step, that of `small` and the refused
        mistakes with the import of Lightning and torchvision.
        """
        for step in (case, small):
            self._built_in(step)
        script = (
            f"import sys; sys.path.insert(0, {str(plain_dir())!r}); import torch; from plain_step import pix2pix_step; "
            f"pix2pix_step({case.size}, 1, {case.depth}, 3, {case.width}, torch.device({self.device.type!r}))()"
        )
        first, help_ = Comparison("start, first step"), Comparison("start, --help", against="import torch")
        begun = Comparison(f"start, first step of {small.name}", against=IMPORTS)
        refused = {mistake: Comparison(f"start, refused {mistake}", against=IMPORTS) for mistake in MISTAKES}
        train = ["-m", "patchlight", "train"]
        for _ in range(self.rounds):
            self.report_progress("start")
            first.add(_seconds(["-c", script]), self._first_step(case))
            help_.add(_seconds(["-c", "import torch"]), _seconds([*train, "--help"]))
            imported = _seconds(["-c", IMPORTS])
            begun.add(imported, self._first_step(small))
            for mistake, comparison in refused.items():
                comparison.add(imported, _seconds([*train, mistake], status=1))
        for comparison in (begun, *refused.values()):
            comparison.notes["of_the_time"] = 1 / comparison.ratio
        return [first, help_, begun, *refused.values()]

    def scaling(self, rows: Mapping[str, Scale] = SCALING) -> dict[str, dict[str, Any]]:
        """How time and memory of our step grow with one of its sizes, with the exponents that fit them."""
        found = {}
        for what, row in rows.items():
            seconds, peaks = [], []
            for value, case in row:
                self.report_progress(f"scaling: {what} {value:g}")
                with self._process(self._training(case)) as ours:
                    times = self._warm_up(ours)
                    seconds.append(
                        statistics.median(ours.turn(times).seconds / times for _ in range(max(3, self.rounds // 2)))
                    )
                    peaks.append(ours.turn(1).peak_bytes)
            values = [value for value, _ in row]
            found[what] = {
                "values": values, "seconds": seconds, "peak_bytes": peaks,
                "time_exponent": exponent(values, seconds), "memory_exponent": exponent(values, peaks),
            }  # fmt: skip
        return found

    def _training(self, case: StepCase) -> dict[str, Any]:
        return {"do": "train", "case": asdict(case), "precision": self.precision}

    def _process(self, spec: dict[str, Any]) -> TimedProcess:
        name = f"{next(self._numbers):02d}-{spec['do']}"
        whole = {**spec, "accelerator": self.device.type, "folder": str(self.folder), "name": name}

        def command(line: int) -> list[str]:
            return [sys.executable, "-m", "patchlight.benchmarking.child", json.dumps({**whole, "line": line})]

        return TimedProcess(command, self.folder / f"{name}.log")

    def _compare(self, name: str, plain: dict[str, Any], ours: dict[str, Any], per: int = 1) -> Comparison:
        """Both in turns; one turn of each before, which is not counted."""
        result = Comparison(name)
        with ExitStack() as stack:
            sides = [stack.enter_context(self._process(spec)) for spec in (plain, ours)]
            times = [self._warm_up(side) for side in sides]
            for _ in range(self.rounds):
                for side, n, values in zip(sides, times, (result.plain, result.ours), strict=True):
                    values.append(side.turn(n).seconds / n / per)
            last = [side.turn(1) for side in sides]
        result.plain_peak, result.ours_peak = (turn.peak_bytes for turn in last)
        result.notes |= {key: value for key, value in last[0].notes.items() if value is not None}
        return result

    def _warm_up(self, side: TimedProcess) -> int:
        """Let it warm up; the number of times that makes a turn."""
        side.turn(2)
        return max(1, min(100, round(self.turn_seconds / side.turn(1).seconds)))

    def _first_step(self, case: StepCase) -> float:
        """Seconds until `patchlight-train` reports its first batch."""
        name = f"{next(self._numbers):02d}-start"
        spec = {"precision": self.precision, "folder": str(self.folder), "name": name, "accelerator": self.device.type}
        started = time.perf_counter()

        def command(line: int) -> list[str]:
            overrides = training_overrides(case, {**spec, "line": line})
            return [sys.executable, "-m", "patchlight", "train", *overrides, f"hydra.run.dir={self.folder / name}"]

        with TimedProcess(command, self.folder / f"{name}.log") as ours:
            ours.turn(1)
            return time.perf_counter() - started

    def _built_in(self, case: StepCase = STEPS[0]) -> Path:
        """The folder of the built-in pairs, which the first training renders."""
        folder = self.folder / "data" / f"synthetic-{case.size}-48-2"
        if not folder.is_dir():
            with self._process(self._training(case)) as ours:
                ours.turn(1)
        return folder


def _seconds(arguments: Sequence[str], status: int = 0) -> float:
    """How long Python takes with these arguments, which end with that exit status."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise BenchError(f"{' '.join(arguments[:3])} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - started
