"""A process that is timed: `python -m patchlight.benchmarking.child SPEC`, as `TimedProcess` starts it.

SPEC is JSON: `do`, the task of each turn, `line`, the file descriptor of its line, and what the task needs besides.
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

from patchlight.benchmarking.cases import StepCase, flops_of, plain_module
from patchlight.benchmarking.turns import peak_bytes, serve
from patchlight.errors import UserError
from patchlight.system.devices import device_of, retain_allocator_memory

Spec = dict[str, Any]


def train(spec: Spec) -> None:
    """Training steps of `patchlight-train`, with everything that it has by default."""
    from patchlight.benchmarking.ours import train_config
    from patchlight.runs.run import train

    train(train_config(StepCase(**spec["case"]), spec))


def plain_step(spec: Spec) -> None:
    """Training steps of the plain loop; also says how many floating-point operations one takes."""
    case, device = StepCase(**spec["case"]), device_of(spec["accelerator"])
    module = plain_module("plain_step")
    make = module.pix2pix_step if case.method == "pix2pix" else module.cyclegan_step
    before = peak_bytes()
    step: Callable[[], None] = make(case.size, case.batch, case.depth, case.n_layers, case.width, device)
    serve(spec["line"], step, flops=flops_of(step), start=before)


def bare_step(spec: Spec, folder: Path) -> Callable[[], object]:
    """A training step of the same networks as `train`'s, without a trainer."""
    from patchlight.benchmarking.ours import bare_step

    if spec["accelerator"] == "cpu":
        retain_allocator_memory()
    return bare_step(StepCase(**spec["case"]), spec)


def plain_input(spec: Spec, folder: Path) -> Callable[[], object]:
    """An epoch of the plain pipeline over pairs, in one process."""
    torch.set_num_threads(1)
    epoch: Callable[[], None] = plain_module("plain_input").plain_epoch(Path(spec["root"]), spec["images"])
    return epoch


def our_input(spec: Spec, folder: Path) -> Callable[[], object]:
    """An epoch of the data module over the same pairs, in one process; the first fills the cache."""
    from patchlight.benchmarking.ours import epochs

    torch.set_num_threads(1)
    return epochs(Path(spec["root"]), spec["images"], spec["cache"])


def checkpoint(spec: Spec, folder: Path) -> Callable[[], object]:
    """A checkpoint of a case's networks, for the translations."""
    from patchlight.benchmarking.ours import write_checkpoint

    return lambda: write_checkpoint(StepCase(**spec["case"]), Path(spec["path"]))


def plain_translation(spec: Spec, folder: Path) -> Callable[[], object]:
    """Files translated by the plain loop into a folder."""
    from patchlight.inference import load

    generator = load(spec["checkpoint"], device=str(device_of(spec["accelerator"]))).generator
    files = sorted(Path(spec["files"]).iterdir())
    translate = plain_module("plain_translate").plain_translate
    return lambda: translate(generator, files, folder)


def our_translation(spec: Spec, folder: Path) -> Callable[[], object]:
    """The same files by the means of `patchlight-translate`."""
    from patchlight.benchmarking.ours import translation

    return translation(spec, folder)


SERVING = {task.__name__: task for task in (train, plain_step)}
"""Tasks that take their turns themselves."""

TASKS = {
    task.__name__: task
    for task in (bare_step, plain_input, our_input, checkpoint, plain_translation, our_translation)
}  # fmt: skip


def main() -> None:
    """Do the task that the argument describes."""
    spec = json.loads(sys.argv[1])
    os.chdir(spec["folder"])
    try:
        if spec["do"] in SERVING:
            SERVING[spec["do"]](spec)
            return
        with tempfile.TemporaryDirectory() as folder:
            serve(spec["line"], TASKS[spec["do"]](spec, Path(folder)))
    except UserError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
