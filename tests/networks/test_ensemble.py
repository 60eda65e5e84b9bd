"""Several discriminators at once: their maps, geometry, features and weights in the losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from two_scales import TwoScales

from patchlight.losses import GANLoss, GradientPenalty, RelativisticLoss
from patchlight.methods.adversarial import AdversarialLoss
from patchlight.networks import (
    Discriminator,
    DiscriminatorEnsemble,
    PatchDiscriminator,
    PatchGrid,
    PixelDiscriminator,
    init_weights,
)


def fine() -> PatchDiscriminator:
    return PatchDiscriminator(3, ndf=4, n_layers=1, norm="instance")


def coarse() -> PatchDiscriminator:
    return PatchDiscriminator(3, ndf=4, n_layers=3, norm="instance")


def pair(**settings: Any) -> DiscriminatorEnsemble:
    torch.manual_seed(0)
    return DiscriminatorEnsemble({"fine": fine(), "coarse": coarse()}, **settings)


def image(seed: int = 1, size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_maps_features_and_patches_are_those_of_the_members() -> None:
    network = pair()
    members = list(network.members.values())
    assert list(network.members) == ["fine", "coarse"]
    assert (network.min_size, network.n_maps, network.map_weights) == (24, 2, None)
    maps = network(image())
    assert [tuple(m.shape[2:]) for m in maps] == [(30, 30), (6, 6)]
    assert all(torch.equal(found, member(image())) for found, member in zip(maps, members, strict=True))
    features = network.features(image())
    assert [len(each) for each in features] == [3, 5]
    assert all(torch.equal(each[-1], logits) for each, logits in zip(features, maps, strict=True))
    assert network.patch_grids(64, 96) == (
        PatchGrid(16, 2, 3.0, (30, 46)), PatchGrid(70, 8, 12.0, (6, 10)),
    )  # fmt: skip
    assert [key.split(".")[1] for key in network.state_dict()][:1] == ["fine"]


def test_members_with_several_maps() -> None:
    several = TwoScales(3)
    several.n_maps = 2
    network = DiscriminatorEnsemble({"several": several, "pixel": PixelDiscriminator(3, ndf=2)}, {"several": 3.0})
    assert (network.n_maps, network.map_weights) == (3, (3.0, 3.0, 1.0))
    assert [tuple(m.shape[2:]) for m in network(image())] == [(30, 30), (14, 14), (64, 64)]
    nested = DiscriminatorEnsemble({"both": network, "fine": fine()}, {"both": 2.0})
    assert nested.map_weights == (6.0, 6.0, 2.0, 1.0)
    silent = DiscriminatorEnsemble({"several": TwoScales(3)})
    with pytest.raises(ValueError, match=r"discriminators.several makes 2 maps and its n_maps is 1"):
        silent(image())
    with pytest.raises(ValueError, match=r"discriminators.several makes 2 maps and its n_maps is 1"):
        silent.features(image())


def test_an_image_that_is_too_small_for_one_of_them() -> None:
    network = pair()
    for call in (network, network.features):
        with pytest.raises(ValueError, match=r"coarse leaves an empty patch map for a 16x16 image: .* 24"):
            call(image(size=16))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discriminators": {}}, "discriminators is empty"),
        ({"discriminators": {"Fine": fine()}}, "discriminators.Fine has a name"),
        ({"discriminators": {"keys": fine()}}, "discriminators.keys has a name"),
        ({"discriminators": {"a": torch.nn.Conv2d(3, 1, 1)}}, "discriminators.a is a Conv2d: derive it"),
        ({"discriminators": {"a": fine()}, "weights": {"b": 1.0}}, "weights.b is of no discriminator: there are a"),
        ({"discriminators": {"a": fine()}, "weights": {"a": 0.0}}, "weights.a must be positive, got 0.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscriminatorEnsemble(**settings)


class Hidden(Discriminator):
    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


def test_features_are_shown_if_all_show_them() -> None:
    assert pair().shows_features
    assert not DiscriminatorEnsemble({"fine": fine(), "hidden": Hidden()}).shows_features


def adversarial(critic: Discriminator, **settings: Any) -> AdversarialLoss:
    given = {
        "gan_mode": "lsgan", "default_mode": "lsgan", "real_label": 1.0, "fake_label": 0.0, "penalties": None,
        "unpenalized_critic": True, "critics": (critic,),
    }  # fmt: skip
    return AdversarialLoss(**{**given, **settings})


@pytest.mark.parametrize("mode", ["lsgan", "wgangp", "hinge", "relativistic"])
def test_losses_are_weighted_sums(mode: Any) -> None:
    network = pair(weights={"fine": 0.25, "coarse": 3.0}).double()
    real, fake = image(1).double(), image(2).double()
    loss = adversarial(network, gan_mode=mode)
    singles = [adversarial(member, gan_mode=mode) for member in network.members.values()]
    both = list(zip(singles, network.members.values(), strict=True))
    d = loss.discriminator(network, real, fake, fake_first=True, step=0)
    each = [s.discriminator(m, real, fake, fake_first=True, step=0) for s, m in both]
    for name, value in d.terms.items():
        torch.testing.assert_close(value, 0.25 * each[0].terms[name] + 3.0 * each[1].terms[name], rtol=1e-12, atol=0)
    assert len(d.real) == len(d.fake) == 2
    terms = [s.generator(m, real, fake).term for s, m in both]
    expected = 0.25 * terms[0] + 3.0 * terms[1]
    torch.testing.assert_close(loss.generator(network, real, fake).term, expected, rtol=1e-12, atol=0)
    with_features = loss.generator(network, real, fake, features=True)
    torch.testing.assert_close(with_features.term, expected, rtol=1e-12, atol=0)
    assert with_features.fake_features is not None
    assert [len(features) for features in with_features.fake_features] == [3, 5]


def test_weights_of_one_change_no_bit() -> None:
    real, fake = image(1), image(2)
    plain, weighted = pair(), pair(weights={"fine": 1.0})
    assert weighted.map_weights is None
    found = [
        adversarial(network).discriminator(network, real, fake, fake_first=False, step=0).terms["total"]
        for network in (plain, weighted)
    ]
    assert torch.equal(*found)
    single = fine()
    alone = DiscriminatorEnsemble({"only": single})
    totals = [
        adversarial(critic).discriminator(critic, real, fake, fake_first=False, step=0).terms["total"]
        for critic in (single, alone)
    ]
    assert torch.equal(*totals)


def test_a_penalty_is_of_the_weighted_logits() -> None:
    network = pair(weights={"fine": 0.5, "coarse": 2.0}).double()
    init_weights(network, gain=0.2)
    real, fake = image(1).double(), image(2).double()
    loss = adversarial(network, gan_mode="wgangp", penalties={"gp": GradientPenalty(kind="real")})
    found = loss.discriminator(network, real, fake, fake_first=True, step=0).terms
    points = real.clone().requires_grad_()
    logits = 0.5 * network.members["fine"](points).sum() + 2.0 * network.members["coarse"](points).sum()
    norms = torch.autograd.grad(logits, points)[0].flatten(1).norm(dim=1)
    torch.testing.assert_close(found["gp_norm"], norms.mean(), rtol=1e-9, atol=0)
    torch.testing.assert_close(found["gp"], (norms - 1).square().mean(), rtol=1e-9, atol=0)


def test_objectives_take_weights() -> None:
    maps = [torch.randn(1, 1, 4, 4), torch.randn(1, 1, 2, 2)]
    other = [torch.randn(1, 1, 4, 4), torch.randn(1, 1, 2, 2)]
    for objective in (GANLoss("hinge"), RelativisticLoss()):
        weighted = objective.discriminator(maps, other, (2.0, 0.5))["total"]
        parts = [objective.discriminator(a, b)["total"] for a, b in zip(maps, other, strict=True)]
        torch.testing.assert_close(weighted, 2 * parts[0] + 0.5 * parts[1])
        with pytest.raises(ValueError, match="shorter|longer"):
            objective.discriminator(maps, other, (2.0,))
