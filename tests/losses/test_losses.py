from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from patchlight.losses import (
    FeatureMatchingLoss,
    GANLoss,
    GradientPenalty,
    PerceptualLoss,
    gradient_penalty,
    make_objective,
    require_penalisable,
)
from patchlight.networks import PatchDiscriminator

MAP = torch.tensor([[[[2.0, -1.0], [0.5, 0.0]]]])
SOFTPLUS = [math.log1p(math.exp(x)) for x in (2.0, -1.0, 0.5, 0.0)]
SOFTPLUS_MINUS = [math.log1p(math.exp(-x)) for x in (2.0, -1.0, 0.5, 0.0)]


@pytest.mark.parametrize(
    ("mode", "real", "fake", "for_generator"),
    [
        ("lsgan", (1 + 4 + 0.25 + 1) / 4, (4 + 1 + 0.25) / 4, (1 + 4 + 0.25 + 1) / 4),
        ("vanilla", sum(SOFTPLUS_MINUS) / 4, sum(SOFTPLUS) / 4, sum(SOFTPLUS_MINUS) / 4),
        ("wgangp", -0.375, 0.375, -0.375),
        ("hinge", (0 + 2 + 0.5 + 1) / 4, (3 + 0 + 1.5 + 1) / 4, -0.375),
        ("nonsaturating", sum(SOFTPLUS_MINUS) / 4, sum(SOFTPLUS) / 4, sum(SOFTPLUS_MINUS) / 4),
    ],
)
def test_values_over_a_patch_map(mode: Any, real: float, fake: float, for_generator: float) -> None:
    loss = GANLoss(mode)
    assert loss(MAP, True).item() == pytest.approx(real)
    assert loss(MAP, False).item() == pytest.approx(fake)
    assert loss(MAP, True, for_generator=True).item() == pytest.approx(for_generator)


SECOND = torch.tensor([[[[1.0, 3.0]]]])


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "wgangp", "hinge", "nonsaturating"])
def test_sides_are_sums_over_the_scales(mode: Any) -> None:
    """A discriminator minimises half the sum of its two parts; over several maps every term is the sum of its means."""
    loss = GANLoss(mode)
    real, fake = (MAP, SECOND), (-MAP, 0.5 * SECOND)
    terms = loss.discriminator(real, fake)
    assert terms["real"].item() == pytest.approx(sum(loss(logits, True).item() for logits in real))
    assert terms["fake"].item() == pytest.approx(sum(loss(logits, False).item() for logits in fake))
    assert terms["total"].item() == pytest.approx((terms["real"].item() + terms["fake"].item()) / 2)
    expected = sum(loss(logits, True, for_generator=True).item() for logits in fake)
    assert loss.generator(fake, None).item() == pytest.approx(expected)
    assert loss(list(real), True).item() == pytest.approx(terms["real"].item())
    assert torch.equal(loss.generator(MAP, None), loss(MAP, True, for_generator=True))
    assert torch.equal(loss.discriminator(MAP, MAP)["fake"], loss(MAP, False))


def test_feature_matching_over_scales() -> None:
    """Of scales with two layers and one before the map: 4 / (2 * 2) (mean + mean) + 4 / (1 * 2) mean."""
    zero, one = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    fake = [[zero, 3 * one, MAP], [one, MAP]]
    real = [[one, one, 5 * MAP], [-2 * one, 5 * MAP]]
    assert FeatureMatchingLoss()(fake, real).item() == pytest.approx((1 + 2) + 2 * 3)
    half = [[feature.bfloat16() for feature in scale] for scale in fake]
    assert FeatureMatchingLoss()(half, real).dtype == torch.float32
    with pytest.raises(ValueError, match="there is none"):
        FeatureMatchingLoss()([[MAP]], [[MAP]])
    with pytest.raises(ValueError, match="shorter"):
        FeatureMatchingLoss()(fake, real[:1])


def test_perceptual_loss_of_two_layers() -> None:
    features = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.Conv2d(1, 2, 1))
    nn.init.constant_(features[0].get_parameter("weight"), 2.0)
    loss = PerceptualLoss(features, layers=(1, 2), weights=(0.5, 1.0))
    fake, real = torch.tensor([[[[1.0, 2.0], [-1.0, 0.0]]]]).requires_grad_(), torch.zeros(1, 1, 2, 2)
    # After the ReLU 2, 4, 0, 0 with the mean 1.5; the pooling's only value is 1.5, too.
    value = loss(fake, real)
    assert value.item() == pytest.approx(0.5 * 1.5 + 1.5)
    value.backward()
    assert fake.grad is not None
    assert fake.grad[0, 0, 0].tolist() == pytest.approx([0.75, 0.75])
    assert len(loss.features) == 3
    assert not any(p.requires_grad for p in loss.parameters())


@pytest.mark.parametrize(
    ("layers", "weights", "message"),
    [
        ((1, 4), (1.0, 1.0), "layers must be ascending positions from 0 to 2"),
        ((2, 1), (1.0, 1.0), "layers must be ascending"),
        ((), (), "layers must be ascending"),
        ((1, 2), (1.0,), "weights must be 2"),
    ],
)
def test_layers_of_a_perceptual_loss(layers: tuple[int, ...], weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(nn.Sequential(nn.Identity(), nn.ReLU(), nn.Identity()), layers=layers, weights=weights)


def test_relativistic_sides() -> None:
    loss = make_objective("relativistic")
    gap = [1.0 - -1.0, 3.0 - 0.5]
    terms = loss.discriminator(SECOND, SECOND.new_tensor([[[[-1.0, 0.5]]]]))
    assert terms.keys() == {"pair", "total"}
    assert terms["total"].item() == pytest.approx(sum(math.log1p(math.exp(-g)) for g in gap) / 2)
    generator = loss.generator((SECOND.new_tensor([[[[-1.0, 0.5]]]]), MAP), (SECOND, MAP))
    assert generator.item() == pytest.approx(sum(math.log1p(math.exp(g)) for g in gap) / 2 + math.log(2))


def test_penalty_of_several_maps() -> None:
    """Is that of their sum: D = (x, 2 x) has the gradient 3."""
    real = torch.rand(2, 1, 3, 3)
    penalty = gradient_penalty(lambda x: (x, 2 * x), real, real, kind="real", constant=0.0, weight=1.0)
    assert penalty.item() == pytest.approx(9 * 9)


def test_label_values() -> None:
    loss = GANLoss("lsgan", real_label=0.9, fake_label=0.1)
    zeros = torch.zeros(2, 1, 3, 5)
    assert loss(zeros, True).item() == pytest.approx(0.81)
    assert loss(zeros, False).item() == pytest.approx(0.01)
    assert {k: v.item() for k, v in loss.state_dict().items()} == pytest.approx({"real_label": 0.9, "fake_label": 0.1})
    with pytest.raises(ValueError, match="real_label and fake_label have no meaning for gan_mode='hinge'"):
        GANLoss("hinge", real_label=0.9)


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "wgangp", "hinge", "nonsaturating"])
def test_precision(mode: Any) -> None:
    assert GANLoss(mode)(MAP.bfloat16(), True).dtype == torch.float32
    assert GANLoss(mode)(MAP.double(), True).dtype == torch.float64


def test_unknown_mode() -> None:
    with pytest.raises(
        ValueError, match="gan_mode must be one of lsgan, vanilla, wgangp, hinge, nonsaturating, got 'foo'"
    ):
        GANLoss("foo")  # type: ignore[arg-type]


class Linear(nn.Module):
    """A critic whose gradient is the same everywhere: 0.5 for each of its values."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 0.5 * image


@pytest.mark.parametrize("kind", ["mixed", "real", "fake"])
def test_penalty_of_a_linear_critic(kind: Any) -> None:
    real, fake = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    norm = 0.5 * math.sqrt(16)
    penalty = gradient_penalty(Linear(), real, fake, kind=kind, constant=1.0, weight=10.0)
    assert penalty.item() == pytest.approx(10 * (norm - 1) ** 2)
    assert GradientPenalty(kind, constant=0.5)(Linear(), real, fake).term.item() == pytest.approx((norm - 0.5) ** 2)


def test_penalty_points() -> None:
    """D(x) = x^2 / 2 has the gradient x, so the penalty tells where the points were."""
    real, fake = torch.full((1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1), 2.0)
    for kind, alpha, point in (("real", None, 4.0), ("fake", None, 2.0), ("mixed", torch.tensor([[0.25]]), 2.5)):
        penalty = gradient_penalty(
            lambda x: 0.5 * x.square(), real, fake, kind=kind, constant=0.0, weight=1.0, alpha=alpha
        )  # type: ignore[arg-type]
        assert penalty.item() == pytest.approx(point**2)


def test_penalty_is_in_float32_under_autocast_and_reaches_the_weights() -> None:
    critic = PatchDiscriminator(3, ndf=4, n_layers=1, norm="instance")
    real, fake = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    alpha = torch.tensor([[0.3], [0.6]])
    expected = gradient_penalty(critic, real, fake, alpha=alpha)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = gradient_penalty(critic, real, fake, alpha=alpha)
    assert penalty.dtype == torch.float32
    assert torch.equal(penalty, expected)
    penalty.backward()
    assert critic.layers[0].weight.grad.abs().max() > 0  # type: ignore[union-attr,operator]


def test_penalty_refuses() -> None:
    with pytest.raises(ValueError, match="kind must be one of mixed, real, fake, got 'both'"):
        GradientPenalty("both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind must be one of"):
        gradient_penalty(Linear(), MAP, MAP, kind="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight must be positive, got 0"):
        GradientPenalty(weight=0)
    with pytest.raises(
        ValueError, match="penalties cannot be used with batch norm .* model.discriminator.norm=instance"
    ):
        require_penalisable(PatchDiscriminator(3, ndf=2))
    require_penalisable(PatchDiscriminator(3, ndf=2, norm="instance"))
