"""The discriminator's step: one pass over real and fake where that makes no difference, and two elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchlight.methods import adversarial as adversarial_module
from patchlight.methods.adversarial import AdversarialLoss, is_batch_independent
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
        gan_mode=gan_mode, real_label=1.0, fake_label=0.0, penalties=None, unpenalized_critic=True, critics=(network,)
    )
    asked: list[int] = []
    hook = network.register_forward_hook(lambda *_: asked.append(1))
    real, fake = images()
    terms, maps = loss.discriminator(network, real, fake[:n_fake], fake_first=fake_first, step=0)
    gradients = torch.autograd.grad(terms["total"], list(network.parameters()))
    hook.remove()
    return (terms, maps), list(gradients), len(asked)


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
