"""Schedules, image pool and initial weights against the reference's figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Adam

from golden import files, load
from patchlight.interop import reference_state_dict
from patchlight.methods import ImagePool, schedules
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator, init_weights


def test_schedules(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("lr_policy", shared):
        with subtests.test(path.stem):
            golden = load(path)
            options = golden.options
            optimizer = Adam([nn.Parameter(torch.zeros(1))], lr=options["lr"])
            schedule = make_schedule(optimizer, options)
            computed = []
            for _ in range(len(golden["lr"])):
                computed.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                if isinstance(schedule, schedules.Plateau):
                    schedule.step(0.0)
                else:
                    schedule.step()
            np.testing.assert_allclose(computed, golden["lr"], rtol=1e-9, atol=1e-18)
            np.testing.assert_allclose(optimizer.param_groups[0]["lr"], golden["lr_after"], rtol=1e-9, atol=1e-18)


def make_schedule(optimizer: Adam, options: dict[str, Any]) -> Any:
    lengths = {"n_epochs": options["n_epochs"], "n_epochs_decay": options["n_epochs_decay"]}
    match options["lr_policy"]:
        case "linear":
            return schedules.linear(optimizer, **lengths)
        case "step":
            return schedules.step(optimizer, **lengths, step_size=options["lr_decay_iters"])
        case "cosine":
            return schedules.cosine(optimizer, **lengths)
        case "plateau":
            return schedules.Plateau(optimizer, monitor="val/l1", **lengths)
    raise AssertionError(options)


def test_image_pool(shared: Path, subtests: pytest.Subtests) -> None:
    """Image k has the value k throughout; what comes back for query k is a number as well."""
    for path in files("image_pool", shared):
        with subtests.test(path.stem):
            golden = load(path)
            size, batch, n = (golden.options[key] for key in ("pool_size", "batch", "n"))
            pool = ImagePool(size, seed=golden.options["python_random_seed"])
            returned: list[int] = []
            for first in range(0, n, batch):
                images = torch.arange(first, first + batch).view(batch, 1, 1, 1).expand(batch, 3, 2, 2).float()
                returned += pool.query(images)[:, 0, 0, 0].int().tolist()
            np.testing.assert_array_equal(returned[: len(golden["returned"])], golden["returned"])
            if size:
                full = np.arange(size, n)
                ages = full - np.array(returned)[size:]
                assert returned[:size] == list(range(size))
                assert golden["first_size_identical"] == 1
                assert np.mean(ages == 0) == pytest.approx(float(golden["frac_current_after_full"]), abs=0.02)
                assert ages[ages > 0].mean() == pytest.approx(float(golden["mean_age_of_old"]), rel=0.1)
                assert len(full) == golden["n_after_full"]


NETWORKS = {"nlayer_d": PatchDiscriminator, "unet": UNetGenerator, "resnet": ResNetGenerator}


def make_network(name: str) -> nn.Module:
    filters = int(re.findall(r"n[gd]f(\d+)", name)[0])
    norm: Any = name.rpartition("_")[2]
    if name.startswith("nlayer_d"):
        return PatchDiscriminator(3, ndf=filters, n_layers=int(name[len("nlayer_d")]), norm=norm)
    if name.startswith("unet"):
        return UNetGenerator(
            3, 3, num_downs=int(np.log2(int(re.findall(r"unet(\d+)", name)[0]))), ngf=filters, norm=norm
        )
    return ResNetGenerator(3, 3, n_blocks=int(re.findall(r"resnet(\d+)", name)[0]), ngf=filters, norm=norm)


def test_initial_weights(shared: Path, subtests: pytest.Subtests) -> None:
    torch.manual_seed(0)
    for path in files("init_weights", shared):
        with subtests.test(path.stem):
            golden = load(path)
            gain = golden.options["init_gain"]
            network = make_network(golden.options["net"])
            init_weights(network, golden.options["init_type"], gain)
            weights = {
                k: v for k, v in reference_state_dict(network).items() if "running" not in k and "num_b" not in k
            }
            assert [[k, list(v.shape)] for k, v in weights.items()] == golden.meta["params"]
            for (name, weight), stats in zip(weights.items(), golden["stats"], strict=True):
                mean, std, _, numel, orthogonality = stats
                assert weight.numel() == numel
                if std == 0:
                    assert (weight == mean).all(), name
                    continue
                # Five standard errors of a mean and of a deviation.
                error = 5 / np.sqrt(numel)
                assert weight.std(correction=0).item() == pytest.approx(std, rel=error), name
                assert abs(weight.mean().item() - mean) < 2 * error * std, name
                if golden.options["init_type"] == "orthogonal" and weight.ndim > 1:
                    rows = weight.flatten(1) / gain
                    rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
                    identity = torch.eye(rows.shape[0])
                    assert (rows @ rows.T - identity).abs().max() < max(1e-4, 10 * orthogonality), name
