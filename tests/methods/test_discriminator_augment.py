"""An augmentation in front of the discriminators: in both sides' steps, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import cyclegan, fit, images, pix2pix
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.losses import (
    ADA,
    R1,
    AdaptiveAugment,
    ConditionalAugment,
    DiffAugment,
    GeneratorTerm,
    GradientPenalty,
    StepImages,
)
from patchlight.networks import PatchDiscriminator

MAKE = pytest.mark.parametrize("make", [pix2pix, cyclegan])


class Mirror(nn.Module):
    """Mirrors, darkens and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return 0.5 * images.flip(-1)


class MirroringDiscriminator(PatchDiscriminator):
    """What a discriminator with `Mirror` before it computes."""

    def forward(self, image: Tensor) -> Any:
        return super().forward(0.5 * image.flip(-1))


@MAKE
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("gan_mode", ["lsgan", "relativistic"])
def test_both_sides_learn_through_it(make: Any, gan_mode: Any, norm: Any, tmp_path: Path) -> None:
    """As if it were the first layer of each discriminator, in losses and penalties; no one else sees it."""
    penalties = {"r1": R1(gamma=0.1), "gp": GradientPenalty(kind="fake")} if norm == "instance" else {}
    mirror = Mirror()
    method, twin = (make(norm, gan_mode=gan_mode, penalties=penalties, **more)
                    for more in ({"discriminator_augment": mirror}, {}))  # fmt: skip
    for network in twin.discriminators:
        network.__class__ = MirroringDiscriminator
    records = [fit(m, tmp_path, images(3)) for m in (method, twin)]
    for a, b in zip(*(record.figures for record in records), strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    for (name, a), (_, b) in zip(method.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13, msg=lambda m, name=name: f"{name}: {m}")
    assert {shape[1] for shape in mirror.seen} == {6 if make is pix2pix else 3}

    mirror.seen.clear()
    (batch,) = images(1)
    found = method.translate(batch)
    method.score_pairs(found)
    assert mirror.seen == []


class Adaptive(AdaptiveAugment):
    """Adds noise whose size follows the logits of real images; it is drawn from the global generator."""

    size: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("size", torch.tensor(0.1))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.size * torch.randn_like(images)

    def observe(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> None:
        assert not any(logits.requires_grad for logits in (*real, *fake))
        assert [logits.shape for logits in real] == [logits.shape for logits in fake]
        self.size += 0.01 * real[0].mean().sign()


@MAKE
def test_its_state_follows_the_maps_and_is_in_the_checkpoint(make: Any, tmp_path: Path) -> None:
    method = make(discriminator_augment=Adaptive())
    seen: list[float] = []
    threshold = method.boundary
    assert threshold == (0 if make is pix2pix else 0.5)

    def note(module: nn.Module, args: Any, maps: Tensor) -> None:
        if len(maps) == 2:  # real and fake, in the discriminator's own step
            seen.append((maps[:1].mean() - threshold).sign().item())

    for network in method.discriminators:
        network.register_forward_hook(note)
    record = fit(method, tmp_path, images(3))
    assert len(seen) == 3 * len(method.discriminators)
    assert method.adversarial.augment.size.item() == pytest.approx(0.1 + 0.01 * sum(seen))
    path = tmp_path / "state.ckpt"
    record.trainer.save_checkpoint(path)  # type: ignore[attr-defined]
    saved = torch.load(path, weights_only=True)
    assert saved["state_dict"]["adversarial.augment.size"] == method.adversarial.augment.size
    assert saved["ranks"][0]["buffers"]["adversarial.augment.size"] == method.adversarial.augment.size

    make().load_state_dict(saved["state_dict"])
    without = make().state_dict()
    other = make(discriminator_augment=Adaptive())
    other.load_state_dict(without)
    assert other.adversarial.augment.size.item() == pytest.approx(0.1)
    other.load_state_dict(saved["state_dict"])
    assert other.adversarial.augment.size.item() == pytest.approx(method.adversarial.augment.size.item())


def test_logits_that_mean_something_in_comparison_only_are_centred(tmp_path: Path) -> None:
    observed: list[tuple[float, float]] = []

    class Watching(Adaptive):
        def observe(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> None:
            observed.append((real[0].mean().item(), fake[0].mean().item()))

    method = pix2pix(gan_mode="relativistic", discriminator_augment=Watching())
    fit(method, tmp_path, images(1))
    (real,), (fake,) = method.last_step.logits["discriminator"]
    half = (real.mean() - fake.mean()).item() / 2
    assert half != 0
    assert observed == [(pytest.approx(half), pytest.approx(-half))]


@MAKE
@pytest.mark.parametrize("gan_mode", ["lsgan", "relativistic"])
def test_it_is_told_which_channels_are_the_condition(make: Any, gan_mode: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    class Told(ConditionalAugment):
        def augment(self, images: Tensor, condition_channels: int) -> Tensor:
            told.append((images.shape[1], condition_channels))
            return 0.5 * images

    further = {"penalties": {"r1": R1()}, "generator_terms": {"f": Features()}}
    method = make(gan_mode=gan_mode, discriminator_augment=Told(), **further)
    fit(method, tmp_path, images(1))
    assert set(told) == {(6, 3) if make is pix2pix else (3, 0)}
    # The discriminator's real, fake and penalty, the generator's fake and, where it compares, real.
    assert len(told) == (5 if gan_mode == "relativistic" else 4) * len(method.discriminators)


class Features(GeneratorTerm):
    """So that there are passes without the augmentation, too."""

    needs_features = True

    def forward(self, images: StepImages) -> Tensor:
        assert images.fake_features is not None
        return images.fake_features[0][0].mean()


@MAKE
@pytest.mark.parametrize("augment", [DiffAugment, ADA])
def test_ready_made_ones_train_with_a_penalty(make: Any, augment: Any, tmp_path: Path) -> None:
    """And their own state comes back: the same steps again are the same to the bit."""
    method = make(discriminator_augment=augment(), penalties={"r1": R1()})
    if augment is ADA:
        method.adversarial.augment.probability.fill_(0.8)
    record = fit(method, tmp_path, images(2))
    assert all(torch.isfinite(torch.tensor(value)) for value in record.figures[-1].values())
    assert len(record.moved[-1]) == 2
    twin = make(discriminator_augment=augment(), penalties={"r1": R1()})
    if augment is ADA:
        twin.adversarial.augment.probability.fill_(0.8)
        assert float(method.adversarial.augment._steps) == 2 * len(method.discriminators) % 4
    fit(twin, tmp_path, images(2))
    assert all(map(torch.equal, method.state_dict().values(), twin.state_dict().values()))


def test_each_rank_has_its_own_state() -> None:
    """Rank 1's is not in the networks' part of a checkpoint, which rank 0 writes."""
    method = pix2pix(discriminator_augment=Adaptive())
    method.adversarial.augment.size.fill_(0.7)
    state = method.rank_state()
    other = pix2pix(discriminator_augment=Adaptive())
    other.load_rank_state(state)
    assert other.adversarial.augment.size.item() == pytest.approx(0.7)
    assert not any(name.startswith(("generator.", "discriminator.")) for name in state["buffers"])
    pix2pix().load_rank_state(state)
    del state["buffers"]  # a checkpoint of before
    other.load_rank_state(state)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda images: images.detach(), "model.discriminator_augment is not differentiable, so that the generator"),
        (lambda images: images[..., 1:], r"model.discriminator_augment makes \(1, 6, 16, 15\) of \(1, 6, 16, 16\)"),
    ],
)
def test_what_no_generator_can_learn_from(function: Any, message: str, tmp_path: Path) -> None:
    class Wrong(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = function(images)
            return found

    with pytest.raises(ConfigError, match=message):
        fit(pix2pix(discriminator_augment=Wrong()), tmp_path, images(1))


def test_what_is_no_module() -> None:
    with pytest.raises(ValueError, match="discriminator_augment is a function: give a torch.nn.Module"):
        pix2pix(discriminator_augment=lambda images: images)


def test_weights_to_be_trained_are_refused() -> None:
    method = pix2pix(discriminator_augment=nn.Conv2d(6, 6, 1))
    with pytest.raises(ConfigError, match="Pix2Pix.adversarial has weights to be trained .adversarial.augment.weight"):
        method.require_in_table()
