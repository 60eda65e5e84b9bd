"""`patchlight-bench`: how fast steps, input, inference and start-up are on this machine, beside a plain way of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from patchlight.cli.command import CommandConfig, run_command
from patchlight.errors import ConfigError

Part = Literal["step", "overhead", "input", "translate", "start", "scaling"]


class BenchConfig(CommandConfig):
    """The keys of configs/bench.yaml."""

    parts: list[Part]
    steps: list[str] | None
    rounds: Annotated[int, Field(ge=1)]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    root: str | None
    backends: Annotated[list[Literal["torch", "onnx"]], Field(min_length=1)]
    output: str


def bench(config: BenchConfig) -> None:
    """Measure what is asked for, write both files after each step or other part, and print the tables.

    Raises:
        UserError: an unknown step, images that are not there, or a process that ended by itself.
    """
    # Here, so that --help does not wait for them.
    from rich.console import Console
    from rich.table import Table

    from patchlight.benchmarking import STEPS, Bench, Results, write_bench
    from patchlight.benchmarking.results import Comparison
    from patchlight.data.sources.folders import Folders
    from patchlight.runs.records import hardware
    from patchlight.system.devices import device_of, has_bf16_units

    names = [case.name for case in STEPS]
    for name in config.steps or ():
        if name not in names:
            raise ConfigError(f"steps={name} is no step: there are {'; '.join(names)}")
    root = Path(config.root).expanduser() if config.root else None
    if root is not None:
        Folders(root, "paired", "side_by_side").require_training_images()
    precision = config.precision
    if precision == "auto":
        precision = "bf16-mixed" if has_bf16_units(device_of(config.accelerator)) else "32-true"
    console = Console(highlight=False)
    output = Path(config.output).expanduser()

    def report_progress(what: str) -> None:
        console.print(what, style="dim")

    measuring = Bench(output / "work", config.accelerator, precision, config.rounds, root, report_progress)
    results = Results(machine=hardware(), precision=precision, rounds=config.rounds, peaks=measuring.peaks())
    chosen = [case for case in STEPS if config.steps is None or case.name in config.steps]
    comparisons: dict[Part, list[Callable[[], list[Comparison]]]] = {
        "step": [partial(measuring.steps, [case]) for case in chosen],
        "overhead": [measuring.overhead],
        "input": [measuring.input],
        "translate": [partial(measuring.translate, config.backends)],
        "start": [measuring.start],
    }
    paths: list[Path] = []
    for part in config.parts:
        if part == "scaling":
            results.scaling = measuring.scaling()
        for compare in comparisons.get(part, []):
            results.comparisons += compare()
            write_bench(results, output)
        paths = write_bench(results, output)
    for header, rows in results.tables():
        if rows:
            table = Table(*header)
            for row in rows:
                table.add_row(*row)
            console.print(table)
    for path in paths:
        console.print(f"written: {path}", soft_wrap=True)


main = partial(run_command, "bench", BenchConfig, bench)
