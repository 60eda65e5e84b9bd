"""pix2pixHD's step beside the golden figures: its terms, what it refuses, and what a checkpoint leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import SGD, assert_equal, fit, images, pix2pixhd
from torch import Tensor, nn

from patchlight.losses import FeatureMatchingLoss, GeneratorTerm, PerceptualLoss, StepImages
from patchlight.methods import Pix2PixHD
from patchlight.networks import Discriminator, GlobalGenerator


def perceptual() -> PerceptualLoss:
    """A fixed network of one convolution."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return PerceptualLoss(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), layers=(1,), weights=(1.0,))


class Brightness(GeneratorTerm):
    def forward(self, images: StepImages) -> Tensor:
        return images.fake.square().mean()


def test_terms_are_those_of_networks_that_have_not_moved(tmp_path: Path) -> None:
    """Both sides' losses are computed by hand from the weights before the step; their sums have the lambdas in."""
    method, twin = (
        pix2pixhd(
            perceptual=perceptual(), lambda_perceptual=3.0, generator_terms={"brightness": Brightness(weight=2.0)}
        )
        for _ in range(2)
    )
    record = fit(method, tmp_path, images(1))
    assert record.moved == [{"generator", "discriminator"}]
    (batch,) = images(1)
    twin.double().requires_grad_(False)
    fake = twin.generator(batch["A"])
    of_fake = twin.discriminator.features(torch.cat([batch["A"], fake], dim=1))
    of_real = twin.discriminator.features(torch.cat([batch["A"], batch["B"]], dim=1))
    expected = {
        "g_gan": sum((scale[-1] - 1).square().mean() for scale in of_fake),
        "g_feat": FeatureMatchingLoss()(of_fake, of_real),
        "g_perceptual": perceptual().double()(fake, batch["B"]),
        "g_brightness": fake.square().mean(),
        "d_real": sum((scale[-1] - 1).square().mean() for scale in of_real),
        "d_fake": sum(scale[-1].square().mean() for scale in of_fake),
    }
    figures = record.figures[0]
    for name, value in expected.items():
        assert figures[f"train/{name}"] == pytest.approx(float(value), rel=1e-9), name
    g = [expected[f"g_{name}"] for name in ("gan", "feat", "perceptual", "brightness")]
    assert figures["train/g_total"] == pytest.approx(float(g[0] + 10 * g[1] + 3 * g[2] + 2 * g[3]), rel=1e-9)
    assert figures["train/d_total"] == pytest.approx(float(expected["d_real"] + expected["d_fake"]) / 2, rel=1e-9)


def test_a_term_without_weight_is_not_computed(tmp_path: Path) -> None:
    class Fails(nn.Module):
        def forward(self, fake: Tensor, real: Tensor) -> Tensor:
            raise AssertionError

    method = pix2pixhd(lambda_feat=0.0, perceptual=Fails(), lambda_perceptual=0.0)
    record = fit(method, tmp_path, images(2))
    assert {name for name in record.figures[-1] if "/g_" in name} == {"train/g_gan", "train/g_total"}
    assert record.figures[-1]["train/g_total"] == record.figures[-1]["train/g_gan"]


def test_checkpoints_leave_the_perceptual_network_out() -> None:
    plain, method = pix2pixhd(), pix2pixhd(perceptual=perceptual())
    assert method.state_dict().keys() == plain.state_dict().keys()
    before = [p.clone() for p in method.generator_terms.parameters()]
    method.load_state_dict(plain.state_dict())
    for p, value in zip(method.generator_terms.parameters(), before, strict=True):
        assert torch.equal(p, value)
        assert not p.requires_grad


def test_until_the_discriminator_begins_there_are_the_other_terms(tmp_path: Path) -> None:
    method = pix2pixhd(perceptual=perceptual(), discriminator_start=2)
    record = fit(method, tmp_path, images(3))
    assert record.moved == [{"generator"}] * 2 + [{"generator", "discriminator"}]
    assert {name for name in record.figures[1] if "train/" in name} == {"train/g_perceptual", "train/g_total"}
    assert {"train/g_feat", "train/g_gan", "train/d_real"} <= record.figures[2].keys()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_features_are_of_the_images_without_augmentation(norm: Any, tmp_path: Path) -> None:
    """What an augmentation leaves as it is gives the same step; batch norm has seen further passes by then."""

    class Twice(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flip(-1).flip(-1)

    method, twin = pix2pixhd(norm, discriminator_augment=Twice(), optimizer=SGD), pix2pixhd(norm, optimizer=SGD)
    records = [fit(m, tmp_path, images(3)) for m in (method, twin)]
    for a, b in zip(*(record.figures for record in records), strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    if norm == "instance":
        assert_equal(method, twin)


class Hidden(Discriminator):
    """Shows no features."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 1, 4, stride=2)

    def forward(self, image: Tensor) -> Any:
        return self.layer(image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lambda_feat": -1.0}, "lambda_feat must not be negative, got -1.0"),
        ({"lambda_perceptual": -1.0}, "lambda_perceptual must not be negative"),
        ({"discriminator_start": 3}, "discriminator_start=3 leaves the generator without a loss until then"),
        ({"generator_terms": {"feat": Brightness()}}, "generator_terms.feat has the name of a term that pix2pixHD has"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pix2pixhd(**settings)


def test_discriminators_without_features(tmp_path: Path) -> None:
    def made(**settings: Any) -> Pix2PixHD:
        return Pix2PixHD(GlobalGenerator(3, 3, ngf=2, n_downsampling=1, n_blocks=0), Hidden(), **settings)

    with pytest.raises(ValueError, match="generator_terms.feat looks at the features of discriminators, and Hidden"):
        made()
    record = fit(made(lambda_feat=0.0), tmp_path, images(1))
    assert record.moved == [{"generator", "discriminator"}]
