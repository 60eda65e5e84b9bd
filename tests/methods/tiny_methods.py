"""Tiny methods, images and trainings for the tests of the step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn
from torch.utils.data import DataLoader

from patchlight.methods import CUT, CycleGAN, Pix2Pix, Pix2PixHD, TranslationMethod
from patchlight.networks import (
    GlobalGenerator,
    MultiscaleDiscriminator,
    PatchDiscriminator,
    PatchSampleMLP,
    ResNetGenerator,
    UNetGenerator,
    feature_channels,
)

SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.5)


def pix2pix(norm: Any = "instance", d_norm: Any = None, **settings: Any) -> Pix2Pix:
    torch.manual_seed(0)
    generator = UNetGenerator(3, 3, num_downs=3, ngf=4, norm=norm)
    return Pix2Pix(generator, PatchDiscriminator(6, ndf=4, n_layers=1, norm=d_norm or norm), **settings)


def cyclegan(norm: Any = "instance", d_norm: Any = None, **settings: Any) -> CycleGAN:
    torch.manual_seed(0)
    generators = [ResNetGenerator(3, 3, n_blocks=1, ngf=4, norm=norm) for _ in range(2)]
    discriminators = [PatchDiscriminator(3, ndf=4, n_layers=1, norm=d_norm or norm) for _ in range(2)]
    return CycleGAN(*generators, *discriminators, **settings)


def pix2pixhd(norm: Any = "instance", d_norm: Any = None, **settings: Any) -> Pix2PixHD:
    torch.manual_seed(0)
    generator = GlobalGenerator(3, 3, ngf=2, n_downsampling=2, n_blocks=1, norm=norm)
    discriminator = MultiscaleDiscriminator(6, ndf=2, n_layers=1, num_scales=2, norm=d_norm or norm)
    return Pix2PixHD(generator, discriminator, **settings)


def cut(norm: Any = "instance", d_norm: Any = None, sampler: nn.Module | None = None, **settings: Any) -> CUT:
    """Its patches are all that there are, so that random numbers decide about their order only."""
    torch.manual_seed(0)
    generator = ResNetGenerator(3, 3, n_blocks=1, ngf=4, norm=norm)
    layers = (4, 8, 10)
    if sampler is None:
        sampler = PatchSampleMLP(feature_channels(generator, 3, layers), nc=4)
    discriminator = PatchDiscriminator(3, ndf=4, n_layers=1, norm=d_norm or norm)
    return CUT(generator, discriminator, sampler, **{"nce_layers": layers, "num_patches": 64, **settings})


def images(n: int, batch: int = 1, spoilt: int | None = None) -> DataLoader[Any]:
    """The same `n` images in batches of any size; one of them may hold what is not a number."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(n, 3, 16, 16, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2))
    if spoilt is not None:
        b[spoilt, 0, 0, 0] = float("nan")
    batches = [
        {
            "A": a[i : i + batch], "B": b[i : i + batch],
            "A_path": [f"a{k}.png" for k in range(i, i + batch)], "B_path": [f"b{k}.png" for k in range(i, i + batch)],
        }
        for i in range(0, n, batch)
    ]  # fmt: skip
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Norms(Callback):
    """Keeps the figures of every batch, and which networks it moved."""

    def __init__(self) -> None:
        self.figures: list[dict[str, float]] = []
        self.moved: list[set[str]] = []
        self._before: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self._before = {name: value.detach().clone() for name, value in pl_module.named_parameters()}

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.moved.append(
            {
                name.split("_")[0].split(".")[0]
                for name, value in pl_module.named_parameters()
                if not torch.equal(value, self._before[name])
            }
        )


def fit(
    method: TranslationMethod, folder: Path, loader: DataLoader[Any], validation: DataLoader[Any] | None = None,
    callbacks: Sequence[Callback] = (), **settings: Any,
) -> Norms:  # fmt: skip
    record = Norms()
    trainer = Trainer(
        **{"max_epochs": 1, "precision": "64-true", "enable_checkpointing": False, "accelerator": "cpu"} | settings,
        callbacks=[record, *callbacks], logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(method, train_dataloaders=loader, val_dataloaders=validation)
    record.trainer = trainer  # type: ignore[attr-defined]
    return record


def assert_equal(a: nn.Module, b: nn.Module, rtol: float = 1e-9) -> None:
    other = b.state_dict()
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, other[name], rtol=rtol, atol=1e-13, msg=lambda m, name=name: f"{name}: {m}")
