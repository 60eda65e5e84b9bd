"""A training with a plain `lightning.Trainer`: own callbacks and loop settings, and a checkpoint that `load` takes.

`python examples/plain_trainer.py FOLDER`. What `patchlight.train` adds to this are the figures, pictures, alarms, the
checks before the first batch and the exact resume.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf
from torch import Tensor

import patchlight
from patchlight.build import build_data, build_method, data_channels
from patchlight.callbacks import RunRecord
from patchlight.data import normalise

SMALL = [
    "data.render.n_train=12", "data.render.n_test=2", "data.render.size=64", "data.load_size=72", "data.image_size=64",
    "data.num_workers=0", "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=8",
    "model.discriminator.ndf=8",
]  # fmt: skip


class PrintLosses(pl.Callback):
    """A callback of one's own: the loss terms after every epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        terms = {name: round(float(value), 3) for name, value in trainer.callback_metrics.items()}
        print(f"epoch {trainer.current_epoch + 1}: g_l1 {terms['train/g_l1']}, g_gan {terms['train/g_gan']}")


def main(folder: Path, overrides: list[str]) -> Tensor:
    """Train, load the checkpoint and translate an image of the test split; returns it, B C H W in [-1, 1]."""
    cfg = patchlight.compose(["model=pix2pix", "data=synthetic", f"paths.data_dir={folder}/data", *overrides])
    pl.seed_everything(cfg.seed, verbose=False)
    method = build_method(cfg.model, data_channels(cfg.data))
    data = build_data(cfg.data, method).module

    # The configuration in the checkpoint is what the networks are rebuilt from.
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    kept = ModelCheckpoint(dirpath=folder / "checkpoints", filename="pix2pix")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="auto", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=[RunRecord(config), PrintLosses(), kept],
    )  # fmt: skip
    trainer.fit(method, datamodule=data)

    translate = patchlight.load(kept.best_model_path)
    data.setup("test")
    batch = normalise(next(iter(data.test_dataloader())))
    return translate(batch["A"])


if __name__ == "__main__":
    result = main(Path(sys.argv[1] if len(sys.argv) > 1 else "logs/plain_trainer"), SMALL)
    print(f"translated: {tuple(result.shape)}, from {result.min():.2f} to {result.max():.2f}")
