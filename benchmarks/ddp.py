"""Times training steps on several ranks: one DDP per network against Lightning's one for all, in turns.

    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 benchmarks/ddp.py [--steps 20] [--rounds 5]

Lightning's has to look for unused parameters in every backward pass, since each leaves one side of a GAN out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import distributed
from torch.utils.data import DataLoader

from patchlight.build import build_method
from patchlight.config.compose import compose_config
from patchlight.parallel import PerNetworkDDP
from patchlight.system.warnings import filter_warnings

CASES = {
    "pix2pix": ("model=pix2pix", "model/generator=unet_128", "model.generator.ngf=32", "model.discriminator.ndf=32"),
    "cyclegan": ("model=cyclegan", "model/generator=resnet_6", "model.generator.ngf=16", "model.discriminator.ndf=16"),
}
SIZE = 128
"""Pixels."""

WARM_UP = 3


class Clock(Callback):
    """The seconds that the steps after the first few take."""

    seconds = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WARM_UP:
            distributed.barrier()
            self.seconds = -time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.seconds += time.perf_counter()


def seconds_per_step(overrides: tuple[str, ...], strategy: Any, steps: int) -> float:
    """One measurement, with networks of its own."""
    torch.manual_seed(0)
    method = build_method(compose_config("train", overrides).model, {"A": 3, "B": 3})
    a, b = torch.rand(2, 1, 3, SIZE, SIZE) * 2 - 1
    batches = [{"A": a, "B": b}] * (steps + WARM_UP)
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, callbacks=[clock],
        default_root_dir=tempfile.mkdtemp(),
    )  # fmt: skip
    trainer.fit(method, train_dataloaders=DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return clock.seconds / steps


def main() -> None:
    """Print a line per model."""
    parser = argparse.ArgumentParser(description="Time steps on two CPU ranks.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    filter_warnings()
    warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no")
    for name, overrides in CASES.items():
        pairs = [
            (
                seconds_per_step(overrides, "ddp_find_unused_parameters_true", args.steps),
                seconds_per_step(overrides, PerNetworkDDP(), args.steps),
            )
            for _ in range(args.rounds)
        ]
        if distributed.get_rank() == 0:
            ratios = sorted(one / ours for one, ours in pairs)
            one, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(
                f"{name}: one DDP for all {one:.4f} s, one per network {ours:.4f} s a step, "
                f"{statistics.median(ratios):.3f} times faster ({ratios[0]:.3f} to {ratios[-1]:.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
