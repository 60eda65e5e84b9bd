"""Folders of runs as trainings leave them, without a training."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

METRICS: dict[str, Any] = {
    "l1": "mean absolute error over all values, images in [-1, 1]",
    "psnr": "dB, mean over images, images clipped to [0, 1]",
    "lpips": "AlexNet, linear weights v0.1, mean over images, images in [-1, 1]",
    "frechet_alexnet": {"what": "Frechet distance of Gaussians", "extractor": "AlexNet", "sha256": "7be5be79"},
}

PROTOCOL: dict[str, Any] = {
    "split": "test",
    "images": 106,
    "files": "0123456789ab",
    "image_size": 128,
    "preprocess": "resize_and_crop, without crop margin or flip",
    "inference_mode": "paper",
    "batch_size": 1,
    "weights": "as trained",
    "compared": {"fake_B": "real_B"},
    "best_is": "min val/l1",
    "metrics": METRICS,
}

FIELDS = {0: 1, 1: 16, 2: 34, 3: 70, 4: 142}
"""Receptive field by the number of layers; 0 is the pixel discriminator."""

MAPS = {0: 128, 1: 62, 2: 30, 3: 14, 4: 6}


class RunMaker:
    """Writes run folders below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(
        self,
        name: str,
        *,
        seed: int = 0,
        n_layers: int = 3,
        figures: Mapping[str, float | None] | None = None,
        best: Mapping[str, float | None] | None = None,
        protocol: Mapping[str, Any] | None = None,
        changes: Mapping[str, Any] | None = None,
        outcome: Mapping[str, Any] | None = None,
        alarms: list[dict[str, Any]] | None = None,
        method: str | None = "pix2pix",
        commit: str = "2b3333793dbff2f8b34be7bb5d3f6f9697666a53",
    ) -> Path:
        """A run; `figures=None` makes one that has not finished, `changes` are configuration values by dotted key."""
        folder = self.root / name
        folder.mkdir(parents=True)
        config = make_config(folder, seed, n_layers, changes or {})
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        write(folder / "manifest.json", make_manifest(seed, n_layers, commit))
        if figures is not None:
            own = {**(PROTOCOL if protocol is None else protocol)}
            own["seeds"] = {"run": seed}
            write(folder / "metrics.json", {"last": figures, **({"best": best} if best else {}), "protocol": own})
        if outcome is not None:
            write(folder / "outcome.json", outcome)
        if alarms is not None:
            write(folder / "alarms.json", alarms)
        write_curves(folder / "metrics.csv", seed, n_layers)
        if method is not None:
            write_samples(folder / "samples" / "latest", seed, n_layers, method)
        return folder


@pytest.fixture
def make_run(tmp_path: Path) -> RunMaker:
    return RunMaker(tmp_path / "runs")


@pytest.fixture
def protocol() -> dict[str, Any]:
    return copy.deepcopy(PROTOCOL)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve finished runs in four groups, which differ in depth, and one each of the other kinds."""
    root = tmp_path_factory.mktemp("sweep")
    make_sweep(root)
    return root


def make_sweep(root: Path) -> None:
    make = RunMaker(root)
    random = np.random.default_rng(7)
    for n_layers, l1 in ((0, 0.301), (1, 0.296), (2, 0.284), (3, 0.277)):
        for seed in (0, 1, 2):
            noise = random.normal(0, 0.003)
            figures = {
                "l1": l1 + noise,
                "psnr": 18 - 10 * l1 - 20 * noise,
                "lpips": 0.5 - 0.03 * n_layers + random.normal(0, 0.004),
                "frechet_alexnet": 42.0 - 3 * n_layers + random.normal(0, 0.8),
            }
            alarm = {"step": 3920, "figure": "health/d_acc", "value": 0.9971, "message": "Nearly every patch is told."}
            make(
                f"{n_layers}-{seed}", n_layers=n_layers, seed=seed, figures=figures,
                best={name: value * 0.99 for name, value in figures.items()},
                outcome={"status": "finished", "message": None, "overrides": [], "objective": None, "seconds": 60.0},
                alarms=[alarm] if n_layers == 3 and seed else [],
            )  # fmt: skip
    make("failed", n_layers=3, seed=3, outcome={"status": "failed", "message": "the loss d_fake is not finite"})
    make("left-out", n_layers=4, outcome={"status": "left out", "message": "no patch map is left of 16 px"})
    make("running", n_layers=1, seed=3)
    broken = make("broken", n_layers=2, seed=3, figures={"l1": 0.3})
    (broken / "metrics.json").write_text('{"last": {"l1": 0.3', encoding="utf-8")


def make_config(folder: Path, seed: int, n_layers: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    kind = {"_target_": "patchlight.networks.PixelDiscriminator", "ndf": 32, "norm": "batch"}
    if n_layers:
        kind |= {"_target_": "patchlight.networks.PatchDiscriminator", "n_layers": n_layers}
    config: dict[str, Any] = {
        "task": "facades", "seed": seed, "resume": None,
        "data": {"root": "data/facades", "batch_size": 1, "image_size": 128, "seed": seed, "max_train": None},
        "model": {
            "_target_": "patchlight.methods.Pix2Pix", "gan_mode": "vanilla", "lambda_l1": 100.0,
            "generator": {"_target_": "patchlight.networks.UNetGenerator", "norm": "batch"}, "discriminator": kind,
            "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.0002, "betas": [0.5, 0.999]},
            "penalties": {},
        },
        "trainer": {"max_epochs": 20, "devices": 1, "default_root_dir": str(folder)},
        "callbacks": {"samples": {"_target_": "patchlight.callbacks.Samples", "folder": str(folder / "samples")}},
        "logger": {"csv": {"folder": str(folder)}},
        "paths": {"data_dir": "data", "run_dir": str(folder)},
    }  # fmt: skip
    config = copy.deepcopy(config)
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return config


def make_manifest(seed: int, n_layers: int, commit: str) -> dict[str, Any]:
    geometry = {"name": "discriminator", "receptive_field": FIELDS[n_layers]}
    geometry |= {"image_size": [128, 128], "map_size": [MAPS[n_layers], MAPS[n_layers]]}
    return {
        "started": "2026-11-24T16:43:20+00:00",
        "command": f"patchlight-train experiment=facades_pix2pix model.discriminator.n_layers={n_layers} seed={seed}",
        "git": {"commit": commit, "changed": False},
        "versions": {"python": "3.11.7", "patchlight": "0.1.0", "torch": "2.14.1"},
        "hardware": {"processor": "EPYC", "cores": 2, "gpus": []},
        "seed": seed,
        "discriminators": {"discriminator": geometry},
    }


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def write_curves(path: Path, seed: int, n_layers: int) -> None:
    """200 training rows and 20 validations, with cells left empty as the logger leaves them."""
    random = np.random.default_rng([seed, n_layers])
    lines = ["epoch,images_seen,step,train/g_l1,train/d_real,train/g_total,val/l1,health/d_acc_real"]
    for i in range(200):
        step = 10 * i + 9
        fall = 0.2 * np.exp(-i / 60)
        noise = random.normal(0, 0.01, 3)
        lines.append(f"{i // 10},{step + 1},{step},{0.25 + fall + noise[0]},{0.6 - fall + noise[1]},30,,")
        if i % 10 == 9:
            lines.append(
                f"{i // 10},,{step},,,,{0.27 + 0.5 * fall + 0.3 * noise[2] - 0.005 * n_layers},{0.8 + noise[0]}"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_samples(folder: Path, seed: int, n_layers: int, method: str) -> None:
    """Two inputs; they are the same for all runs, the outputs are not."""
    folder.mkdir(parents=True)
    names = {"pix2pix": ["real_A", "real_B", "fake_B", "discriminator_real", "discriminator_fake"]}
    names["cyclegan"] = ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"]
    names["cyclegan"] += [f"discriminator_{d}_{kind}" for d in "ab" for kind in ("real", "fake")]
    for number in range(2):
        for i, name in enumerate(names[method]):
            own = [0, 0] if name.startswith("real_") else [seed, n_layers]
            random = np.random.default_rng([number, i, *own])
            coarse = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((128, 128), Image.Resampling.BICUBIC).save(
                folder / f"{number:02d}_{name}.png"
            )
