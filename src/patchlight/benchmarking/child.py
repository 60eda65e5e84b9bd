"""A process that is timed: `python -m patchlight.benchmarking.child SPEC`, as `TimedProcess` starts it.

SPEC is JSON: `do`, what is to be done in each turn, `read` and `write`, the line's file descriptors, and what
that needs besides.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from patchlight.benchmarking.cases import StepCase
from patchlight.benchmarking.flops import flops_of
from patchlight.benchmarking.plain import plain_module
from patchlight.benchmarking.turns import Line, peak_bytes, serve
from patchlight.errors import UserError
from patchlight.system.devices import device_of, retain_allocator_memory


def plain_step(spec: dict[str, Any]) -> None:
    """Training steps of the plain loop; also says how many floating-point operations one takes."""
    case, device = StepCase(**spec["case"]), device_of(spec["accelerator"])
    module = plain_module("plain_step")
    make = module.pix2pix_step if case.method == "pix2pix" else module.cyclegan_step
    before = peak_bytes()
    step: Callable[[], None] = make(case.size, case.batch, case.depth, case.n_layers, case.width, device)
    serve(Line(spec["read"], spec["write"]), step, flops=flops_of(step), start=before)


def train(spec: dict[str, Any]) -> None:
    """Training steps of `patchlight-train`, with everything that it has by default."""
    from patchlight.benchmarking.ours import train_config
    from patchlight.runs.run import train

    train(train_config(StepCase(**spec["case"]), spec))


def bare_step(spec: dict[str, Any]) -> None:
    """Training steps of the same networks as `train`'s, without a trainer."""
    from patchlight.benchmarking.ours import bare_step

    if spec["accelerator"] == "cpu":
        retain_allocator_memory()
    serve(Line(spec["read"], spec["write"]), bare_step(StepCase(**spec["case"]), spec))


def plain_input(spec: dict[str, Any]) -> None:
    """Epochs of the plain pipeline over pairs, in one process."""
    torch.set_num_threads(1)
    epoch: Callable[[], None] = plain_module("plain_input").plain_epoch(Path(spec["root"]), spec["images"])
    serve(Line(spec["read"], spec["write"]), epoch)


def our_input(spec: dict[str, Any]) -> None:
    """Epochs of the data module over the same pairs, in one process; the first of them fills the cache."""
    from patchlight.benchmarking.ours import epochs

    torch.set_num_threads(1)
    serve(Line(spec["read"], spec["write"]), epochs(Path(spec["root"]), spec["images"], spec["cache"]))


def checkpoint(spec: dict[str, Any]) -> None:
    """A checkpoint of a case's networks, for the translations."""
    from patchlight.benchmarking.sets import write_checkpoint

    serve(Line(spec["read"], spec["write"]), lambda: write_checkpoint(StepCase(**spec["case"]), Path(spec["path"])))


def plain_translation(spec: dict[str, Any]) -> None:
    """Files translated by the plain loop."""
    from patchlight.inference import load

    generator = load(spec["checkpoint"], device=str(device_of(spec["accelerator"]))).generator
    files = sorted(Path(spec["files"]).iterdir())
    translate = plain_module("plain_translate").plain_translate
    with tempfile.TemporaryDirectory() as folder:
        serve(Line(spec["read"], spec["write"]), lambda: translate(generator, files, Path(folder)))


def our_translation(spec: dict[str, Any]) -> None:
    """The same files by the means of `patchlight-translate`."""
    from patchlight.benchmarking.ours import translation

    with tempfile.TemporaryDirectory() as folder:
        serve(Line(spec["read"], spec["write"]), translation(spec, Path(folder)))


TASKS = {
    deed.__name__: deed
    for deed in (
        plain_step,
        train,
        bare_step,
        plain_input,
        our_input,
        checkpoint,
        plain_translation,
        our_translation,
    )
}


def main() -> None:
    """Do what the argument says."""
    spec = json.loads(sys.argv[1])
    os.chdir(spec["folder"])
    try:
        TASKS[spec["do"]](spec)
    except UserError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
