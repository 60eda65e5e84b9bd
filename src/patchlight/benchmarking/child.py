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
from patchlight.system.devices import device_of

Spec = dict[str, Any]


def plain_step(spec: Spec) -> None:
    """Training steps of the plain loop; also says how many floating-point operations one takes."""
    case, device = StepCase(**spec["case"]), device_of(spec["accelerator"])
    module = plain_module("plain_step")
    make = module.pix2pix_step if case.method == "pix2pix" else module.cyclegan_step
    before = peak_bytes()
    step: Callable[[], None] = make(case.size, case.batch, case.depth, case.n_layers, case.width, device)
    serve(spec["line"], step, flops=flops_of(step), start=before)


def plain_input(spec: Spec, folder: Path) -> Callable[[], object]:
    """An epoch of the plain pipeline over pairs, in one process."""
    torch.set_num_threads(1)
    epoch: Callable[[], None] = plain_module("plain_input").plain_epoch(Path(spec["root"]), spec["images"])
    return epoch


def plain_translation(spec: Spec, folder: Path) -> Callable[[], object]:
    """Files translated by the plain loop into a folder."""
    from patchlight.inference import load

    generator = load(spec["checkpoint"], device=str(device_of(spec["accelerator"]))).generator
    files = sorted(Path(spec["files"]).iterdir())
    translate = plain_module("plain_translate").plain_translate
    return lambda: translate(generator, files, folder)


PLAIN = {task.__name__: task for task in (plain_input, plain_translation)}


def main() -> None:
    """Do the task that the argument describes."""
    spec = json.loads(sys.argv[1])
    os.chdir(spec["folder"])
    try:
        if spec["do"] == "plain_step":
            plain_step(spec)
            return
        task: Callable[[Spec, Path], Callable[[], object]] | None = PLAIN.get(spec["do"])
        if task is None:
            from patchlight.benchmarking import ours  # here, so that the plain ways have none of it in their memory

            if spec["do"] == "train":
                ours.train(spec)
                return
            task = ours.TASKS[spec["do"]]
        with tempfile.TemporaryDirectory() as folder:
            serve(spec["line"], task(spec, Path(folder)))
    except UserError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
