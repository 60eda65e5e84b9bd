"""Adversarial losses and gradient penalties against the reference's figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from golden import build, files, load
from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.losses import FeatureMatchingLoss, GANLoss, PerceptualLoss, gradient_penalty


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


def test_feature_matching(shared: Path, subtests: pytest.Subtests) -> None:
    for path in [path for path in files("hd_losses", shared) if "features_" in path.stem]:
        with subtests.test(path.stem):
            golden = load(path)
            j = golden.meta["j"]
            fake, real = (
                [
                    [golden.noise(shape, first + j + 20 * i + k).double().requires_grad_() for k, shape in enumerate(s)]
                    for i, s in enumerate(golden.meta["feature_shapes"])
                ]
                for first in (800, 810)
            )
            loss = golden.options["lambda_feat"] * FeatureMatchingLoss()(fake, real)
            np.testing.assert_allclose(loss.item(), golden["loss_f64"], rtol=1e-8, atol=1e-10)
            loss.backward()
            assert all(feature.grad is None for scale in real for feature in scale)
            for i, scale in enumerate(fake):
                assert scale[-1].grad is None
                for k, feature in enumerate(scale[:-1]):
                    assert feature.grad is not None
                    np.testing.assert_allclose(feature.grad.numpy(), golden[f"grad/{i}/{k}_f64"], rtol=1e-8, atol=1e-12)


def test_perceptual_loss(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("hd_vgg", shared):
        with subtests.test(path.stem):
            golden = load(path)
            shape, j = golden.meta["input_shape"], golden.meta["j"]
            features = make_layers(cfgs["E"])
            features.load_state_dict(golden.weights(golden.meta["keys"]))
            perceptual = PerceptualLoss(features).double()
            fake, real = golden.image(shape, j).double().requires_grad_(), golden.image(shape, j + 1).double()
            loss = perceptual(fake, real.requires_grad_())
            np.testing.assert_allclose(loss.item(), golden["loss_f64"], rtol=1e-8, atol=1e-10)
            for layer, expected in zip(golden.meta["layers"], golden["l1_per_layer_f64"], strict=True):
                alone = PerceptualLoss(features, layers=[layer], weights=[1.0])
                np.testing.assert_allclose(alone(fake, real).item(), expected, rtol=1e-8)
            loss.backward()
            assert fake.grad is not None
            assert real.grad is None
            assert all(p.grad is None for p in perceptual.parameters())
            np.testing.assert_allclose(fake.grad.norm().item(), golden["grad_fake_norm_f64"], rtol=1e-6)
            np.testing.assert_allclose(
                fake.grad[..., ::4, ::4].numpy(), golden["grad_fake_stride4_f64"], rtol=1e-8, atol=1e-12
            )


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
