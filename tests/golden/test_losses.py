"""Adversarial losses and gradient penalties against the reference's figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from golden import build, files, load
from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.losses import GANLoss, gradient_penalty


def test_gan_loss(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("gan_loss", shared):
        golden = load(path)
        for side, is_real in (("real", True), ("fake", False)):
            with subtests.test(f"{path.stem}-{side}"):
                prediction = torch.from_numpy(golden["prediction"]).requires_grad_(True)
                loss = GANLoss(**golden.options)(prediction, is_real)
                np.testing.assert_allclose(loss.item(), golden[f"loss_{side}"], rtol=1e-6)
                loss.backward()
                assert prediction.grad is not None
                np.testing.assert_allclose(prediction.grad.numpy(), golden[f"grad_{side}"], rtol=1e-5, atol=1e-8)


def test_gan_loss_over_scales(shared: Path, subtests: pytest.Subtests) -> None:
    for path in [path for path in files("hd_losses", shared) if "gan_" in path.stem]:
        golden = load(path)
        for side, is_real in (("real", True), ("fake", False)):
            with subtests.test(f"{path.stem}-{side}"):
                n_maps = sum(key.startswith("map/") for key in golden.arrays)
                maps = [torch.from_numpy(golden[f"map/{i}"]).double().requires_grad_(True) for i in range(n_maps)]
                loss = GANLoss(golden.options["gan_mode"])(maps, is_real)
                np.testing.assert_allclose(loss.item(), golden[f"loss_{side}_f64"], rtol=1e-8, atol=1e-10)
                loss.backward()
                for i, logits in enumerate(maps):
                    assert logits.grad is not None
                    expected = golden[f"grad_{side}/{i}_f64"]
                    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-8, atol=1e-12)


def test_gradient_penalty(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("grad_penalty", shared):
        with subtests.test(path.stem):
            golden = load(path)
            critic = build(golden.meta["ctor"])
            described = [
                (k, tuple(v.shape), str(v.dtype).removeprefix("torch."))
                for k, v in reference_state_dict(critic).items()
            ]
            load_reference_weights(critic, golden.weights(described))
            real, fake = golden.image((3, 3, 32, 32), 20), golden.image((3, 3, 32, 32), 21)
            penalty = gradient_penalty(
                critic, real, fake, kind=golden.options["type"], constant=golden.options["constant"],
                weight=golden.options["lambda_gp"], alpha=torch.from_numpy(golden["alpha"]),
            )  # fmt: skip
            np.testing.assert_allclose(penalty.item(), golden["penalty"], rtol=1e-5)
            penalty.backward()
            assert [name for name, *_ in described] == golden.meta["param_names"]
            norms = [0.0 if p.grad is None else p.grad.norm().item() for p in critic.parameters()]
            expected = golden["param_gradnorm"]
            # A bias before instance norm has a gradient of 0 but for rounding: only its smallness means anything.
            np.testing.assert_allclose(norms, expected, rtol=5e-3, atol=1e-7 * expected.max())
