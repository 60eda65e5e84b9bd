"""Compares generators: arithmetic, parameters and a step of CycleGAN; and checkerboards in what they make.

    OMP_NUM_THREADS=1 python benchmarks/generators.py cost [--only resnet_9_mobile resnet_9_quarter]
    OMP_NUM_THREADS=1 python benchmarks/generators.py checkerboard

`cost` trains with each generator in turns and prints medians and ranges of the ratios to `resnet_9` of the same turn;
the arithmetic is that of one translation. `checkerboard` prints how far what repeats after 2 and after 4 pixels stands
out of the spectrum of the images, for untrained generators and after some steps in which they learn to reproduce smooth
images: 1 is a spectrum without a peak there.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from patchlight.build import build_method
from patchlight.config.compose import compose_config
from patchlight.methods import CycleGAN
from patchlight.system.warnings import filter_warnings

GENERATORS = {
    "resnet_9": ("model/generator=resnet_9",),
    "resnet_9, nearest": ("model/generator=resnet_9", "model.generator.upsample=nearest"),
    "resnet_9, bilinear": ("model/generator=resnet_9", "model.generator.upsample=bilinear"),
    "resnet_9, pixelshuffle": ("model/generator=resnet_9", "model.generator.upsample=pixelshuffle"),
    "resnet_9, attention": ("model/generator=resnet_9", "model.generator.attention=true"),
    "resnet_9_mobile": ("model/generator=resnet_9_mobile",),
    "resnet_9_quarter": ("model/generator=resnet_9_quarter",),
    "unet_256": ("model/generator=unet_256",),
    "unet_256, nearest": ("model/generator=unet_256", "model.generator.upsample=nearest"),
    "unet_256, bilinear": ("model/generator=unet_256", "model.generator.upsample=bilinear"),
    "unet_256, pixelshuffle": ("model/generator=unet_256", "model.generator.upsample=pixelshuffle"),
    "unet_256, attention": ("model/generator=unet_256", "model.generator.attention=true"),
}
BASE = "resnet_9"

NARROW = 16
"""Filters for the comparison of checkerboards, which need no width."""


class Clock(Callback):
    """The processor's seconds that the steps after the first take, in which other programs have hardly a part."""

    seconds = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.seconds = -time.process_time()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.seconds += time.process_time()


def cyclegan(overrides: Sequence[str], seed: int = 0) -> CycleGAN:
    """The method of a configuration, with weights from the same random numbers."""
    torch.manual_seed(seed)
    method = build_method(compose_config("train", ["model=cyclegan", *overrides]).model, {"A": 3, "B": 3})
    assert isinstance(method, CycleGAN)
    return method


def seconds_per_step(method: CycleGAN, size: int, steps: int) -> float:
    """A training of a few steps on one pair of random images, without the first step, which has memory to find."""
    a, b = torch.rand(2, 1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False, callbacks=[clock],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = [{"A": a, "B": b}] * (steps + 1)
    trainer.fit(method, train_dataloaders=DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return clock.seconds / steps


def gflop(generator: nn.Module, size: int) -> float:
    """Floating-point operations of one translation, a multiplication and its addition being two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        generator.eval()(torch.zeros(1, 3, size, size))
    generator.train()
    return float(counter.get_total_flops()) / 1e9


def cost(names: Sequence[str], size: int, rounds: int, steps: int) -> None:
    """Print a row for each generator."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            seconds[name].append(seconds_per_step(cyclegan(GENERATORS[name]), size, steps))
    for name in names:
        generator = cyclegan(GENERATORS[name]).generator_ab
        n_parameters = sum(parameter.numel() for parameter in generator.parameters())
        ratios = [own / other for own, other in zip(seconds[name], seconds[BASE], strict=True)]
        print(
            f"{name:24} {gflop(generator, size):6.1f} GFLOP {n_parameters / 1e6:6.2f} M parameters, step "
            f"{statistics.median(ratios):.2f} times {BASE} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"{statistics.median(seconds[name]):.2f} s",
            flush=True,
        )


def peak(images: Tensor, period: int) -> float:
    """The power of what repeats after `period` pixels along an axis, over that of the frequencies around it.

    Images are square, B C H W; the mean over both axes. 1 is a spectrum without a peak there.
    """
    side, index = images.shape[-1], images.shape[-1] // period
    images = images.double() - images.double().mean(dim=(2, 3), keepdim=True)
    window = torch.hann_window(side, periodic=True, dtype=torch.float64)
    power = torch.fft.fft2(images * window * window[:, None]).abs().square().mean(dim=(0, 1))
    distances = range(4, 13)  # beyond the width of the window's own peak
    around = [index - d for d in distances] + [(index + d) % side for d in distances]
    ratios = [rows[index, : side // 2].mean() / rows[around, : side // 2].mean() for rows in (power, power.T)]
    return float(torch.stack(ratios).mean())


def smooth_images(n: int, size: int, seed: int) -> Tensor:
    """Images whose finest structures are 8 pixels wide, so that all that alternates by pixels is the generator's."""
    noise = torch.rand(n, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(noise, scale_factor=8, mode="bicubic").clamp(-1, 1)


def checkerboard(names: Sequence[str], size: int, steps: int, seeds: int) -> None:
    """Print the peaks of each generator, means over the seeds of the weights."""
    test = smooth_images(4, size, seed=1000)
    for name in names:
        found = []
        for seed in range(seeds):
            generator = cyclegan([*GENERATORS[name], f"model.generator.ngf={NARROW}"], seed).generator_ab
            with torch.no_grad():
                untrained = generator(test)
            optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
            for i in range(steps):
                image = smooth_images(1, size, seed=i)
                optimizer.zero_grad()
                F.l1_loss(generator(image), image).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with torch.no_grad():
                trained = generator(test)
            figures = [peak(images, period) for images in (untrained, trained) for period in (2, 4)]
            found.append([*figures, F.l1_loss(trained, test).item()])
        means = [statistics.mean(values) for values in zip(*found, strict=True)]
        print(
            f"{name:24} untrained {means[0]:7.2f} {means[1]:7.2f}   after {steps} steps {means[2]:7.2f} {means[3]:7.2f}"
            f"   L1 {means[4]:.3f}",
            flush=True,
        )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "checkerboard"])
    parser.add_argument("--only", nargs="*", choices=list(GENERATORS), default=list(GENERATORS))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, help="of a training: 2 for cost, 100 for checkerboard")
    parser.add_argument("--rounds", type=int, default=3, help="of cost")
    parser.add_argument("--seeds", type=int, default=3, help="of checkerboard")
    arguments = parser.parse_args()
    filter_warnings()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if arguments.what == "cost":
        cost(list(dict.fromkeys([BASE, *arguments.only])), arguments.size, arguments.rounds, arguments.steps or 2)
    else:
        checkerboard(arguments.only, arguments.size, arguments.steps or 100, arguments.seeds)


if __name__ == "__main__":
    main()
