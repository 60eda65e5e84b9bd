"""The discriminator's step: one pass over real and fake where that makes no difference, and two elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import cyclegan, fit, pix2pix
from tiny_methods import images as batches
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.losses import R1, AdversarialObjective, GANLoss, RelativisticLoss
from patchlight.methods import adversarial as adversarial_module
from patchlight.methods.adversarial import AdversarialLoss
from patchlight.methods.passes import is_batch_independent
from patchlight.networks import PatchDiscriminator, PixelDiscriminator, init_weights


def discriminator(**settings: Any) -> PatchDiscriminator:
    torch.manual_seed(0)
    network = PatchDiscriminator(3, ndf=4, n_layers=2, **settings)
    init_weights(network)
    return network.double()


def images(n: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, n, 3, 32, 32, dtype=torch.float64, generator=generator)
    return real, fake


def step(network: nn.Module, gan_mode: Any, fake_first: bool = False, n_fake: int = 2) -> tuple[Any, list[Tensor], int]:
    """The terms and gradients of a step, and how often the discriminator was asked."""
    loss = AdversarialLoss(
        gan_mode=gan_mode, default_mode="vanilla", real_label=1.0, fake_label=0.0, penalties=None,
        unpenalized_critic=True, critics=(network,),
    )  # fmt: skip
    asked: list[int] = []
    hook = network.register_forward_hook(lambda *_: asked.append(1))
    real, fake = images()
    found = loss.discriminator(network, real, fake[:n_fake], fake_first=fake_first, step=0)
    gradients = torch.autograd.grad(found.terms["total"], list(network.parameters()))
    hook.remove()
    return (found.terms, [*found.real, *found.fake]), list(gradients), len(asked)


@pytest.mark.parametrize("gan_mode", ["lsgan", "vanilla", "hinge", "wgangp", "relativistic"])
@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_pass_equals_two(
    norm: str, gan_mode: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = discriminator(norm=norm).to(memory_format=layout)
    (terms, maps), gradients, passes = step(network, gan_mode)
    assert passes == 1
    monkeypatch.setattr(adversarial_module, "is_batch_independent", lambda critic: False)
    (apart, apart_maps), apart_gradients, passes = step(network, gan_mode)
    assert passes == 2
    assert terms.keys() == apart.keys()
    for name, value in apart.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-12, atol=1e-14)
    for one, other in zip((*maps, *gradients), (*apart_maps, *apart_gradients), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    "settings", [{"norm": "batch"}, {"norm": "sync_batch"}, {"norm": "none", "spectral_norm": True}]
)
def test_what_couples_images_has_two_passes(settings: dict[str, Any]) -> None:
    network = discriminator(**settings)
    assert not is_batch_independent(network)
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    real, fake = images()
    for fake_first, order in ((True, [fake, real]), (False, [real, fake])):
        seen.clear()
        assert step(network, "lsgan", fake_first)[2] == 2
        assert all(torch.equal(a, b) for a, b in zip(seen, order, strict=True))


def test_images_of_other_numbers_have_two_passes() -> None:
    assert step(discriminator(norm="instance"), "lsgan", n_fake=1)[2] == 2


def test_dropout_couples_passes() -> None:
    assert is_batch_independent(PixelDiscriminator(3, ndf=4, norm="instance"))
    assert not is_batch_independent(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Dropout(0.5)))


class Logistic(AdversarialObjective):
    """An objective of a user's own, with terms of other names: a margin that generators need not keep."""

    threshold = 0.25

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        margin = F.softplus(1 - real).mean() + F.softplus(1 + fake).mean()
        return {"margin": margin, "total": 2 * margin}

    def generator_term(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is None
        return F.softplus(-fake).mean()


@pytest.mark.parametrize("make", [pix2pix, cyclegan])
@pytest.mark.parametrize(
    ("short", "objective"),
    [
        ({"gan_mode": "lsgan", "real_label": 0.9}, lambda: GANLoss("lsgan", real_label=0.9)),
        ({"gan_mode": "hinge"}, lambda: GANLoss("hinge")),
        ({"gan_mode": "relativistic"}, RelativisticLoss),
    ],
)
def test_the_object_is_what_its_short_name_means(
    make: Any, short: dict[str, Any], objective: Any, tmp_path: Path
) -> None:
    named, given = make(**short), make(adversarial=objective())
    records = [fit(method, tmp_path, batches(2)) for method in (named, given)]
    assert records[0].figures == records[1].figures
    assert all(torch.equal(a, b) for a, b in zip(named.parameters(), given.parameters(), strict=True))
    assert named.state_dict().keys() == given.state_dict().keys()
    assert named.boundary == given.boundary


@pytest.mark.parametrize("make", [pix2pix, cyclegan])
def test_an_objective_of_ones_own(make: Any, tmp_path: Path) -> None:
    method = make(adversarial=Logistic(), penalties={"r1": R1(gamma=0.1)})
    assert method.boundary == 0.25
    figures = fit(method, tmp_path, batches(2)).figures[-1]
    (real,), (fake,) = method.last_step.logits["discriminator" if make is pix2pix else "discriminator_b"]
    margin = F.softplus(1 - real).mean() + F.softplus(1 + fake).mean()
    if make is pix2pix:
        assert figures["train/d_margin"] == pytest.approx(margin.item())
        total = 2 * margin.item() + 0.05 * figures["train/d_r1"]
        assert figures["train/d_total"] == pytest.approx(total)
        assert "train/d_real" not in figures
    else:
        assert figures["train/d_b"] == pytest.approx(2 * margin.item())
        total = figures["train/d_a"] + figures["train/d_b"]
        assert figures["train/d_total"] == pytest.approx(
            total + 0.05 * (figures["train/d_r1_a"] + figures["train/d_r1_b"])
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gan_mode": "hinge"}, "gan_mode=hinge and model.adversarial are both given.*model.gan_mode=null"),
        ({"fake_label": 0.1}, "real_label=1.0 and model.fake_label=0.1 belong to model.gan_mode"),
        ({"adversarial": nn.ReLU()}, "adversarial is a ReLU: derive it from patchlight.losses.AdversarialObjective"),
        ({"adversarial": GANLoss("wgangp")}, "gan_mode=wgangp without a gradient penalty trains an unconstrained"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pix2pix(**{"adversarial": Logistic(), **settings})


def test_labels_of_checkpoints_of_before() -> None:
    method = pix2pix(gan_mode="lsgan")
    state = method.state_dict()
    state["adversarial.pointwise.real_label"] = state.pop("adversarial.objective.real_label") * 0.75
    state["adversarial.pointwise.fake_label"] = state.pop("adversarial.objective.fake_label")
    method.load_state_dict(state)
    assert float(method.adversarial.objective.real_label) == 0.75


class TwoScales(PatchDiscriminator):
    """A discriminator that returns two maps."""

    def forward(self, image: Tensor) -> Any:
        return super().forward(image), super().forward(F.avg_pool2d(image, 2))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_terms_of_two_scales_are_sums(norm: Any) -> None:
    torch.manual_seed(0)
    network = TwoScales(3, ndf=4, n_layers=1, norm=norm).double()
    (terms, maps), _, _ = step(network, "lsgan")
    assert [tuple(logits.shape) for logits in maps] == [(2, 1, 14, 14), (2, 1, 6, 6)] * 2
    assert terms["real"].item() == pytest.approx(sum((m - 1).square().mean().item() for m in maps[:2]))
    assert terms["fake"].item() == pytest.approx(sum(m.square().mean().item() for m in maps[2:]))
    loss = AdversarialLoss(
        gan_mode="relativistic", default_mode="vanilla", real_label=1.0, fake_label=0.0, penalties=None,
        unpenalized_critic=False, critics=(network,),
    )  # fmt: skip
    network.eval()
    real, fake = images()
    expected = sum(F.softplus(r - f).mean() for r, f in zip(network(real), network(fake), strict=True))
    torch.testing.assert_close(loss.generator(network, real, fake).term, expected, rtol=1e-12, atol=0)
