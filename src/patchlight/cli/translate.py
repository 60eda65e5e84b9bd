"""`patchlight-translate`: images through a trained generator."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from patchlight.cli.command import CommandConfig, Device, run_command
from patchlight.errors import ConfigError, printable
from patchlight.system.files import make_folder
from patchlight.system.warnings import filter_warnings, import_lightning


class TranslateConfig(CommandConfig):
    """The keys of configs/translate.yaml."""

    examples = {
        "ckpt": "ckpt=PATH, such as RUN/checkpoints/last.ckpt",
        "input": "input=FILE, a folder, or a pattern such as 'DIR/*.png'",
        "output": "output=DIR, the folder for the results",
    }
    open_groups = ("condition",)

    ckpt: str
    input: str
    output: str
    direction: Literal["AtoB", "BtoA"] | None
    weights: Literal["ema", "raw"]
    inference_mode: Literal["eval", "paper"] | None
    format: Literal["png", "jpg", "tif", "webp", "npy"] | None
    overwrite: bool
    batch_size: int | None = Field(ge=1)
    device: Device
    precision: Literal["auto", "32-true", "bf16"]
    backend: Literal["torch", "onnx"]
    compile: bool
    tile: Annotated[int, Field(ge=1)] | Literal["auto"] | None
    patchmap: bool
    condition: dict[str, Any]
    instances: str | None
    trust: bool


def translate(config: TranslateConfig) -> int:
    """Translate what is asked for, and print what was done and what failed; returns how many files failed.

    Raises:
        UserError: nothing can be done at all.
    """
    # Here, so that --help does not wait for them.
    import_lightning()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from patchlight.example import images_path
    from patchlight.inference.jobs import find_jobs
    from patchlight.inference.loading import TrainedModel
    from patchlight.inference.onnx import speed_up
    from patchlight.inference.pipeline import translate_files

    console = Console(highlight=False, soft_wrap=True, markup=False)
    filter_warnings()
    output = Path(config.output).expanduser()
    given = str(images_path(config.input))
    first: Literal["A", "B"] = "B" if config.direction == "BtoA" else "A"
    find_jobs(given, output, config.format, config.overwrite, domain=first)  # before a network is built for them
    model = TrainedModel(Path(config.ckpt).expanduser(), trust=config.trust)
    if (config.instances is not None) != (model.labels is not None and model.labels.instances):
        raise ConfigError(
            f"instances={config.instances} is nothing that this model reads: leave it out"
            if config.instances is not None
            else "instances is not set, which this model reads: give the folder of files with their numbers"
        )
    make_folder(output)  # before a network is built for them
    translator = model.translator(
        weights=config.weights, direction=config.direction, device=config.device, precision=config.precision,
        inference_mode=config.inference_mode, tile=config.tile, conditions=config.condition,
    )  # fmt: skip
    scorer = model.patch_scorer(direction=config.direction, device=config.device) if config.patchmap else None
    n_maps = scorer.n_maps if scorer else 0
    domain: Literal["A", "B"] = "A" if translator.direction == "AtoB" else "B"
    jobs = find_jobs(
        given, output, config.format, config.overwrite, n_maps, config.instances, domain, translator.reads,
        translator.writes,
    )  # fmt: skip
    del model  # the checkpoint, of which only the networks are needed
    speed_up(translator, config.backend, config.compile)
    console.print(
        f"{translator.direction} on {translator.device} in {'bfloat16' if translator.bf16 else 'float32'}, "
        f"inference_mode={translator.inference_mode}" + (", one image at a time" if translator.one_by_one else "")
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("translating", total=len(jobs))
        began = time.perf_counter()
        failures = translate_files(translator, jobs, config.batch_size, lambda: progress.advance(task), scorer)
        seconds = time.perf_counter() - began
    finished = len(jobs) - len(failures)
    console.print(f"{_images(finished)} in {seconds:.1f} s ({finished / seconds:.1f} a second): {output}")
    if failures:
        print(f"patchlight-translate: {_images(len(failures))} could not be translated:", file=sys.stderr)
        for failure in failures:
            print(f"  {printable(failure.source)}: {failure.reason}", file=sys.stderr)
    return len(failures)


def _images(count: int) -> str:
    return f"{count} image" + ("" if count == 1 else "s")


main = partial(run_command, "translate", TranslateConfig, translate)
