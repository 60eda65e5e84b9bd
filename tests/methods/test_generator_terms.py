"""Further terms of the generators' loss: their values, gradients and intervals, and what they need."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import cut, cyclegan, fit, images, pix2pix, pix2pixhd
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.losses import (
    FeatureMatchingLoss,
    FeatureMatchingTerm,
    GeneratorTerm,
    MSSSIMTerm,
    SSIMTerm,
    StepImages,
    TotalVariationTerm,
)
from patchlight.methods import Pix2Pix
from patchlight.methods.generator_terms import require_term_images
from patchlight.networks import Discriminator, DiscriminatorEnsemble, PatchDiscriminator, UNetGenerator

MAKE = pytest.mark.parametrize("make", [pix2pix, cyclegan])

PLAIN_SGD = partial(torch.optim.SGD, lr=0.01)


def variation(image: Tensor) -> Tensor:
    return image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean()


class Variation(GeneratorTerm):
    def forward(self, images: StepImages) -> Tensor:
        return variation(images.fake)


class Matching(GeneratorTerm):
    """Mean absolute difference of the discriminator's features, without its map."""

    needs_features = True

    def forward(self, images: StepImages) -> Tensor:
        assert images.fake_features is not None
        assert images.real_features is not None
        ((fakes, reals),) = zip(images.fake_features, images.real_features, strict=True)
        pairs = list(zip(fakes, reals, strict=True))
        assert not any(real.requires_grad for _, real in pairs)
        return torch.stack([(fake - real).abs().mean() for fake, real in pairs[:-1]]).sum()


class Paired(GeneratorTerm):
    needs_pairs = True

    def forward(self, images: StepImages) -> Tensor:
        return (images.fake - images.real).square().mean()


class Random(GeneratorTerm):
    """Compares random features, and counts in a buffer how often."""

    calls: Tensor

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, images: StepImages) -> Tensor:
        self.calls += 1
        return self.network(images.fake).square().mean()


def test_it_is_logged_before_its_weight_and_weighs_in_the_gradient(tmp_path: Path) -> None:
    plain, method = (
        pix2pix(optimizer=PLAIN_SGD),
        pix2pix(optimizer=PLAIN_SGD, generator_terms={"tv": Variation(3.0)}),
    )
    generator = copy.deepcopy(plain.generator).double()
    (batch,) = images(1)
    value = variation(generator(batch["A"]))
    gradients = torch.autograd.grad(value, list(generator.parameters()))
    before, after = fit(plain, tmp_path, images(1)).figures[0], fit(method, tmp_path, images(1)).figures[0]
    assert after["train/g_tv"] == pytest.approx(value.item(), rel=1e-12)
    assert after["train/g_total"] == pytest.approx(before["train/g_total"] + 3 * value.item(), rel=1e-12)
    assert after.keys() - before.keys() == {"train/g_tv"}
    for a, b, gradient in zip(method.generator.parameters(), plain.generator.parameters(), gradients, strict=True):
        torch.testing.assert_close(a - b, -0.01 * 3 * gradient, rtol=1e-9, atol=1e-14)
    for a, b in zip(method.discriminator.parameters(), plain.discriminator.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("make", [pix2pix, pix2pixhd, cyclegan, cut])
def test_one_that_is_null_is_left_out(make: Any) -> None:
    """As a file does on top of one that has it, in which `~model.generator_terms.tv` cannot be written."""
    method = make(generator_terms={"tv": None, "other": Variation(2.0)}, penalties={"r1": None})
    assert "tv" not in method.generator_terms
    assert "other" in method.generator_terms
    assert len(method.adversarial.penalties) == 0


def test_it_is_in_each_direction_of_a_cycle(tmp_path: Path) -> None:
    method = cyclegan(optimizer=PLAIN_SGD, generator_terms={"tv": Variation(3.0)})
    plain = cyclegan(optimizer=PLAIN_SGD)
    twin = copy.deepcopy(plain).double()
    (batch,) = images(1)
    values = {"ab": variation(twin.generator_ab(batch["A"])), "ba": variation(twin.generator_ba(batch["B"]))}
    parameters = [*twin.generator_ab.parameters(), *twin.generator_ba.parameters()]
    gradients = torch.autograd.grad(values["ab"] + values["ba"], parameters)
    before, after = fit(plain, tmp_path, images(1)).figures[0], fit(method, tmp_path, images(1)).figures[0]
    for way, value in values.items():
        assert after[f"train/g_tv_{way}"] == pytest.approx(value.item(), rel=1e-12)
    total = before["train/g_total"] + 3 * sum(value.item() for value in values.values())
    assert after["train/g_total"] == pytest.approx(total, rel=1e-12)
    moved = [*method.generator_ab.parameters(), *method.generator_ba.parameters()]
    unmoved = [*plain.generator_ab.parameters(), *plain.generator_ba.parameters()]
    for a, b, gradient in zip(moved, unmoved, gradients, strict=True):
        torch.testing.assert_close(a - b, -0.01 * 3 * gradient, rtol=1e-9, atol=1e-14)


@MAKE
def test_an_interval_counts_the_generators_steps(make: Any, tmp_path: Path) -> None:
    """In every second step twice as strong: here the generators move in every second batch."""
    method = make(generator_terms={"random": Random(), "tv": Variation(0.5, interval=2)}, d_steps_per_g_step=2)
    record = fit(method, tmp_path, images(8))
    ways = [""] if make is pix2pix else ["_ab", "_ba"]
    assert (method.g_steps, method.d_steps) == (4, 8)
    assert int(method.generator_terms["random"].calls) == 4 * len(ways)
    for way in ways:
        values = [figures.get(f"train/g_tv{way}") for figures in record.figures]
        assert values[0] is None
        assert values[1] == values[2] == values[3] == values[4] != values[5] == values[6] == values[7]


def test_an_interval_makes_it_stronger(tmp_path: Path) -> None:
    every, second = (
        pix2pix(generator_terms={"tv": Variation(2.0)}),
        pix2pix(generator_terms={"tv": Variation(1.0, interval=2)}),
    )
    fit(every, tmp_path, images(1))
    fit(second, tmp_path, images(1))
    for a, b in zip(every.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_a_weight_of_nothing(tmp_path: Path) -> None:
    method, plain = pix2pix(generator_terms={"random": Random(0.0)}), pix2pix()
    figures = [fit(m, tmp_path, images(2)).figures[-1] for m in (method, plain)]
    assert figures[0] == figures[1]
    assert int(method.generator_terms["random"].calls) == 0


@MAKE
@pytest.mark.parametrize("gan_mode", ["lsgan", "relativistic"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_features_of_the_discriminator(make: Any, gan_mode: Any, accumulate: int, tmp_path: Path) -> None:
    """They share the pass that the adversarial term has, which is as without."""
    method = make(gan_mode=gan_mode, generator_terms={"feat": Matching(2.0)}, accumulate=accumulate)
    plain = make(gan_mode=gan_mode, accumulate=accumulate)
    passes: list[int] = []
    method.discriminators[0].register_forward_hook(lambda *_: passes.append(1))
    figures, before = (fit(m, tmp_path, images(accumulate)).figures[-1] for m in (method, plain))
    assert len(passes) == accumulate  # those of its own step, real and fake in one
    ways = {"": ""} if make is pix2pix else {"_ab": "_ab", "_ba": "_ba"}
    for way in ways:
        assert figures[f"train/g_gan{way}"] == pytest.approx(before[f"train/g_gan{way}"], rel=1e-12)
    total = before["train/g_total"] + sum(2 * figures[f"train/g_feat{way}"] for way in ways)
    assert figures["train/g_total"] == pytest.approx(total, rel=1e-12)
    if make is pix2pix and accumulate == 1:  # the generator learns from the discriminator that has moved
        (batch,) = images(1)
        real, fake = (torch.cat([batch["A"], b], dim=1) for b in (batch["B"], method.last_step.images["fake_B"]))
        of_real, of_fake = (method.discriminator.features(pair)[0] for pair in (real, fake))
        value = torch.stack([(f - r).abs().mean() for f, r in zip(of_fake[:-1], of_real[:-1], strict=True)]).sum()
        assert figures["train/g_feat"] == pytest.approx(value.item(), rel=1e-12)


def test_feature_matching_has_the_weights_of_several_discriminators(tmp_path: Path) -> None:
    critics = {"fine": PatchDiscriminator(6, 4, 1, "instance"), "coarse": PatchDiscriminator(6, 4, 2, "instance")}
    method = pix2pix(generator_terms={"feat": FeatureMatchingTerm(5.0)})
    method.discriminator = DiscriminatorEnsemble(critics, {"coarse": 0.25})
    figures = fit(method, tmp_path, images(1)).figures[-1]
    (batch,) = images(1)
    real, fake = (torch.cat([batch["A"], b], dim=1) for b in (batch["B"], method.last_step.images["fake_B"]))
    alone = [FeatureMatchingLoss()(critic.features(fake), critic.features(real)) for critic in critics.values()]
    assert figures["train/g_feat"] == pytest.approx((alone[0] + 0.25 * alone[1]).item() / 2, rel=1e-12)


def test_features_wait_for_the_discriminator(tmp_path: Path) -> None:
    method = pix2pix(generator_terms={"feat": Matching(), "tv": Variation()}, discriminator_start=1)
    record = fit(method, tmp_path, images(2))
    assert [{"train/g_tv", "train/g_feat"} & figures.keys() for figures in record.figures] == [
        {"train/g_tv"}, {"train/g_tv", "train/g_feat"},
    ]  # fmt: skip


def test_networks_in_terms_are_fixed(tmp_path: Path) -> None:
    term = Random()
    weights = copy.deepcopy(term.network.state_dict())
    method = pix2pix(generator_terms={"random": term})
    record = fit(method, tmp_path, images(2))
    assert not any(parameter.requires_grad for parameter in term.parameters())
    assert not term.network[1].training
    for name, value in term.network.state_dict().items():
        torch.testing.assert_close(value.double(), weights[name].double(), rtol=1e-6, atol=0)
    own = {p for o in record.trainer.optimizers for group in o.param_groups for p in group["params"]}  # type: ignore[attr-defined]
    assert not own & set(term.parameters())
    state = method.state_dict()
    assert int(state["generator_terms.random.calls"]) == 2
    assert not any(name.endswith(("weight", "bias")) for name in state if name.startswith("generator_terms."))

    other = pix2pix(generator_terms={"random": Random()})
    initial = copy.deepcopy(other.generator_terms["random"].network[0].weight)
    other.load_state_dict(state)
    assert int(other.generator_terms["random"].calls) == 2
    assert torch.equal(other.generator_terms["random"].network[0].weight, initial)
    pix2pix().load_state_dict(state)
    other.load_state_dict(pix2pix().state_dict())


def test_images_are_in_float32_under_autocast(tmp_path: Path) -> None:
    class Seen(GeneratorTerm):
        def forward(self, images: StepImages) -> Tensor:
            seen.add(images.fake.dtype)
            return images.fake.square().mean()

    seen: set[torch.dtype] = set()
    method = pix2pix(generator_terms={"seen": Seen()})
    loader: Any = [{key: value.float() for key, value in batch.items() if key in "AB"} for batch in images(1)]
    fit(method, tmp_path, torch.utils.data.DataLoader(loader, batch_size=None), precision="bf16-mixed")
    assert seen == {torch.float32}


class Hidden(Discriminator):
    """A discriminator that shows no features."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 1, 1)


@pytest.mark.parametrize(
    ("make", "terms", "message"),
    [
        (pix2pix, {"tv": nn.ReLU()}, "generator_terms.tv is a ReLU: derive it from patchlight.losses.GeneratorTerm"),
        (pix2pix, {"l1": Variation()}, "generator_terms.l1 has a name that is taken or cannot be"),
        (pix2pix, {"keys": Variation()}, "generator_terms.keys has a name that is taken or cannot be"),
        (cyclegan, {"gan": Variation()}, "generator_terms.gan has a name that is taken or cannot be"),
        (pix2pix, {"TV 1": Variation()}, "generator_terms.TV 1 has a name that is taken or cannot be"),
        (cyclegan, {"mse": Paired()}, "generator_terms.mse compares images .* learns without$"),
        (
            cyclegan,
            {"ssim": SSIMTerm()},
            "learns without: set against=source, or cycle, to compare",
        ),
        (
            pix2pix,
            {"ssim": SSIMTerm(against="cycle")},
            "generator_terms.ssim looks at reconstructions",
        ),
    ],
)
def test_refused(make: Any, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(generator_terms=terms)


@MAKE
def test_ready_made_terms_of_a_method(make: Any, tmp_path: Path) -> None:
    """Each is logged before its weight, and is that of the images of the step."""
    pairs = make is pix2pix
    terms: dict[str, GeneratorTerm] = {
        "total_variation": TotalVariationTerm(2.0), "ssim": SSIMTerm(3.0, against="target" if pairs else "cycle"),
        **({"feature_matching": FeatureMatchingTerm(5.0)} if pairs else {}),
    }  # fmt: skip
    plain = make()
    (batch,) = images(1)
    found = copy.deepcopy(plain).double().translate(batch)
    before, after = (fit(m, tmp_path, images(1)).figures[0] for m in (plain, make(generator_terms=terms)))
    expected = after["train/g_total"] - before["train/g_total"]
    for way, fake, back, source in (("", "fake_B", "", ""),) if pairs else (
        ("_ab", "fake_B", "rec_A", "A"), ("_ba", "fake_A", "rec_B", "B"),
    ):  # fmt: skip
        own = StepImages(source=batch[source or "A"], fake=found[fake], real=batch["B"], reconstruction=found.get(back))
        for name, term in terms.items():
            if name != "feature_matching":
                assert after[f"train/g_{name}{way}"] == pytest.approx(term(own).item(), rel=1e-9)
            expected -= term.weight * after[f"train/g_{name}{way}"]
    assert expected == pytest.approx(0, abs=1e-9)
    assert not pairs or after["train/g_feature_matching"] > 0


def test_images_that_do_not_suit_a_term_are_refused() -> None:
    channels = {"A": 1, "B": 3}
    method = pix2pix(generator_terms={"ms": MSSSIMTerm()})
    require_term_images(method, (176, 200), channels)
    with pytest.raises(ConfigError, match="generator_terms.ms: needs images of at least 176 px a side, got 175"):
        require_term_images(method, (175, 200), channels)
    method = pix2pix(generator_terms={"ssim": SSIMTerm(against="source")})
    with pytest.raises(ConfigError, match="generator_terms.ssim: compares an image of 3 channels with its"):
        require_term_images(method, (64, 64), channels)


def test_an_image_of_another_size_than_all_others(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="generator_terms.ms: needs images of at least 176 px a side, got 16 x"):
        fit(pix2pix(generator_terms={"ms": MSSSIMTerm()}), tmp_path, images(1))


def test_features_are_refused_where_there_are_none() -> None:

    with pytest.raises(
        ValueError,
        match=r"generator_terms.feat looks at the features of discriminators, and Hidden does .* ~model\.\w+\.feat$",
    ):
        Pix2Pix(UNetGenerator(3, 3, 3, 4), Hidden(), generator_terms={"feat": Matching()})
    with pytest.raises(ValueError, match="weight must not be negative, got -1"):
        Variation(-1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda images: (images.fake - images.real).abs(), r"wrong makes a value of shape \(1, 3, 16, 16\): a term is"),
        (
            lambda images: images.real.mean(),
            r"wrong makes a value of shape \(\) without a gradient: a term is a scalar",
        ),
    ],
)
def test_a_value_that_is_no_term(value: Any, message: str, tmp_path: Path) -> None:
    class Wrong(GeneratorTerm):
        def forward(self, images: StepImages) -> Tensor:
            found: Tensor = value(images)
            return found

    with pytest.raises(ConfigError, match=message):
        fit(pix2pix(generator_terms={"wrong": Wrong()}), tmp_path, images(1))
