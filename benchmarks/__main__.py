"""Times training steps against a plain loop over the same networks, in turns, and prints medians and their ratio.

    python -m benchmarks [--steps 20] [--rounds 5]

The plain loop is what one writes first: eager float32, default Adam, no trainer. Ours is the step as `patchlight-train`
takes it, through Lightning with its callbacks but without loggers. Both read the same two images.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from patchlight.build import build_method
from patchlight.config import compose_config
from patchlight.networks import PatchDiscriminator, UNetGenerator, init_weights

CASES = {"pix2pix 128 px": ("unet_128", 7, 128, 32), "pix2pix 256 px": ("unet_256", 8, 256, 64)}
"""Generator choice, its depth, image size in pixels, filters of the first layer."""


def plain_loop(depth: int, size: int, filters: int) -> Callable[[int], float]:
    """A function that takes so many steps and returns the seconds."""
    generator, discriminator = UNetGenerator(3, 3, depth, filters, dropout=True), PatchDiscriminator(6, filters)
    for network in (generator, discriminator):
        init_weights(network)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real_A, real_B = torch.rand(2, 1, 3, size, size) * 2 - 1

    def criterion(logits: torch.Tensor, label: float) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def run(steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            fake_B = generator(real_A)
            optimizer_d.zero_grad()
            fake = criterion(discriminator(torch.cat([real_A, fake_B.detach()], 1)), 0.0)
            real = criterion(discriminator(torch.cat([real_A, real_B], 1)), 1.0)
            (0.5 * (fake + real)).backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            loss = criterion(discriminator(torch.cat([real_A, fake_B], 1)), 1.0) + 100 * F.l1_loss(fake_B, real_B)
            loss.backward()
            optimizer_g.step()
        return time.perf_counter() - started

    return run


def patchlight_loop(choice: str, size: int, filters: int) -> Callable[[int], float]:
    """The same through the method and the trainer that a configuration makes."""
    overrides = [f"model/generator={choice}", f"model.generator.ngf={filters}", f"model.discriminator.ndf={filters}"]
    method = build_method(compose_config("train", overrides).model, {"A": 3, "B": 3})
    real_A, real_B = torch.rand(2, 1, 3, size, size) * 2 - 1
    folder = tempfile.mkdtemp()

    def run(steps: int) -> float:
        loader: DataLoader[dict[str, torch.Tensor]] = DataLoader([{"A": real_A, "B": real_B}] * steps, batch_size=None)  # type: ignore[arg-type]
        trainer = Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        started = time.perf_counter()
        trainer.fit(method, train_dataloaders=loader)
        return time.perf_counter() - started

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time training steps on the CPU.")
    parser.add_argument("--steps", type=int, default=20, help="steps of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, in turns")
    args = parser.parse_args()
    table = Table("step", "plain loop, s", "patchlight, s", "times faster")
    for name, (choice, depth, size, filters) in CASES.items():
        plain, ours = plain_loop(depth, size, filters), patchlight_loop(choice, size, filters)
        plain(3), ours(3)
        pairs = [(plain(args.steps) / args.steps, ours(args.steps) / args.steps) for _ in range(args.rounds)]
        a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = sorted(x / y for x, y in pairs)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        table.add_row(name, f"{a:.3f}", f"{b:.3f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
