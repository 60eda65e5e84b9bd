from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from two_scales import TwoScales

from patchlight.callbacks import Health
from patchlight.callbacks.alarms import Alarms, Rule
from patchlight.callbacks.health import (
    discriminator_figures,
    gradient_figures,
    saturation,
    thumbnails,
    variety,
)
from patchlight.losses import ADA, R1
from patchlight.methods import CycleGAN, Pix2Pix
from patchlight.methods.state import StepRecord
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator


def floats(figures: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def test_accuracy_counts_patches_on_the_right_side() -> None:
    real, fake = torch.tensor([[[[2.0, -1.0], [3.0, 0.5]]]]), torch.tensor([[[[-2.0, 1.0], [-3.0, -0.5]]]])
    assert floats(discriminator_figures((real,), (fake,), 0.0)) == {
        "d_acc_real": 0.75, "d_acc_fake": 0.75, "d_logit_real": 1.125, "d_logit_fake": -1.125, "d_acc": 0.75,
    }  # fmt: skip
    assert floats(discriminator_figures((real,), (fake,), 0.6))["d_acc_real"] == 0.5
    # Without a boundary, the middle of the two means: a shift of both changes nothing.
    shifted = floats(discriminator_figures((real + 10,), (fake + 10,), None))
    assert (shifted["d_acc_real"], shifted["d_acc_fake"]) == (0.75, 0.75)


def test_scales_count_the_same_however_many_patches_they_have() -> None:
    fine, coarse = torch.tensor([[[[2.0, -1.0], [-3.0, -0.5]]]]), torch.tensor([[[[4.0]]]])
    found = floats(discriminator_figures((fine, coarse), (-fine, -coarse), 0.0))
    assert (found["d_acc_real"], found["d_acc_fake"], found["d_acc"]) == (0.625, 0.625, 0.625)
    assert found["d_logit_real"] == pytest.approx((-0.625 + 4) / 2)
    assert (found["d_acc_scale1"], found["d_acc_scale2"]) == (0.25, 1.0)


def test_gradient_ratio_is_of_whole_norms() -> None:
    norms = {name: torch.tensor(value) for name, value in (("g1", 3.0), ("g2", 4.0), ("d", 2.5))}
    assert floats(gradient_figures(norms, ["g1", "g2"], ["d"]))["grad_ratio"] == pytest.approx(2.0)
    assert "grad_ratio" not in gradient_figures({"d": norms["d"]}, ["g1", "g2"], ["d"])


def test_saturation_and_variety() -> None:
    flat = torch.tensor([1.0, -1.0, 0.98, 0.0])
    assert saturation(flat, torch.tensor([1.0, 0.0, 0.0, 0.0])).item() == 0.25
    assert saturation(torch.zeros(4), flat).item() == 0
    real = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert variety(thumbnails(real), thumbnails(real)).item() == pytest.approx(1.0)
    assert variety(thumbnails(0.25 * real), thumbnails(real)).item() == pytest.approx(0.25)
    assert variety(thumbnails(real[:1].expand(16, -1, -1, -1)), thumbnails(real)).item() == pytest.approx(0.0, abs=1e-6)


def test_an_alarm_is_raised_once_until_the_figure_is_back() -> None:
    alarms = Alarms(
        2, [Rule("x(_[ab])?", low=0.0, high=1.0, too_low="{value:.1f} is low", too_high="{value:.1f} high")]
    )
    said = [alarms.observe({"x": value, "y": 99.0}, step) for step, value in enumerate((5, 5, 5, 0, 0.5, -4))]
    assert [[a["message"] for a in new] for new in said] == [[], ["5.0 high"], [], [], [], ["-1.8 is low"]]
    assert alarms.raised == [
        {"step": 1, "figure": "x", "value": 5.0, "message": "5.0 high"},
        {"step": 5, "figure": "x", "value": -1.75, "message": "-1.8 is low"},
    ]
    again = Alarms(2, alarms.rules)
    again.load_state_dict(alarms.state_dict())
    assert again.observe({"x": -4.0}, 6) == []
    assert again.state_dict()["values"] == {"x": [-4.0, -4.0]}


def test_a_discriminator_knows_nothing_by_heart_in_the_first_batches() -> None:
    """Of a set of a few images three validations are over in a minute, when logits have hardly begun to differ."""
    alarms = Alarms(20)
    early = [alarms.observe({"d_overfit_a": 1.0}, step) for step in range(8, 500, 8)]
    assert early == [[]] * len(early)
    late = [alarms.observe({"d_overfit_a": 0.8}, step) for step in (500, 508, 516)]
    assert [[alarm["value"] for alarm in new] for new in late] == [[], [], [pytest.approx(0.8)]]


def batches(n: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    images = [
        {name: torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1 for name in "AB"} | {"A_path": [], "B_path": []}
        for _ in range(n)
    ]
    return DataLoader(images, batch_size=None)  # type: ignore[arg-type]


def fit(method: Pix2Pix | CycleGAN, health: Health, folder: Path, n: int = 6) -> dict[str, float]:
    run = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[health], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, log_every_n_steps=2,
    )  # fmt: skip
    run.fit(method, batches(n))
    return {name: float(v) for name, v in run.callback_metrics.items() if name.startswith("health/")}


def test_figures_of_the_last_step_of_pix2pix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1))
    health = Health(tmp_path, window=100, n_images=3)
    figures = fit(method, health, tmp_path)
    seen = method.last_step
    (real,), (fake,) = seen.logits["discriminator"]
    assert real.shape == fake.shape == (1, 1, 14, 14)
    assert figures["health/d_acc_real"] == pytest.approx((real > 0).float().mean().item())
    assert figures["health/d_logit_fake"] == pytest.approx(fake.mean().item())
    assert figures["health/grad_ratio"] == pytest.approx(
        (seen.gradient_norms["generator"] / seen.gradient_norms["discriminator"]).item()
    )
    # Observed at batches 2, 4 and 6.
    real_B = [batch["B"] for batch in batches(6)][1::2]
    assert torch.equal(health._thumbnails["real_B"], thumbnails(torch.cat(real_B)))
    assert 0 < figures["health/variety"] < 2
    assert "health/pool_age_a" not in figures


def test_both_scales_outlast_a_step_and_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4), TwoScales(6), penalties={"r1": R1()})
    figures = fit(method, Health(tmp_path, window=100), tmp_path, n=2)
    real, fake = method.last_step.logits["discriminator"]
    assert [tuple(logits.shape) for logits in (*real, *fake)] == [(1, 1, 14, 14), (1, 1, 6, 6)] * 2
    assert figures["health/d_acc_real"] == pytest.approx(np.mean([(x > 0).float().mean().item() for x in real]))
    assert figures["health/d_acc"] == pytest.approx(np.mean([figures[f"health/d_acc_scale{n}"] for n in (1, 2)]))
    torch.save(method.last_step.state_dict(images=False), tmp_path / "step.pt")
    again = StepRecord.from_state_dict(torch.load(tmp_path / "step.pt", weights_only=True), torch.device("cpu"))
    assert all(map(torch.equal, (*again.logits["discriminator"][0], *again.logits["discriminator"][1]), (*real, *fake)))
    # As an earlier version kept it, which knew one map.
    one = {"images": {}, "logits": {"discriminator": [real[0], fake[0]]}, "gradient_norms": {}}
    earlier = StepRecord.from_state_dict(one, torch.device("cpu"))
    assert earlier.logits == {"discriminator": ((real[0],), (fake[0],))}


def test_norms_are_those_of_the_gradients(tmp_path: Path) -> None:
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1))
    fit(method, Health(tmp_path), tmp_path, n=1)
    for name, network in method.named_children():
        if name in method.networks:
            gradients = torch.cat([p.grad.ravel() for p in network.parameters() if p.grad is not None])
            assert method.last_step.gradient_norms[name].item() == pytest.approx(gradients.norm().item(), rel=1e-5)


def test_cyclegan_has_both_domains_and_the_ages_of_its_pools(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = CycleGAN(
        ResNetGenerator(3, 3, 0, 4), ResNetGenerator(3, 3, 0, 4), PatchDiscriminator(3, 4, 1),
        PatchDiscriminator(3, 4, 1), pool_size=4,
    )  # fmt: skip
    figures = fit(method, Health(tmp_path, n_images=2), tmp_path)
    names = ("d_acc_real", "d_acc_fake", "d_acc", "d_logit_real", "d_logit_fake", "saturation", "variety", "pool_age")
    assert {f"health/{name}_{domain}" for name in names for domain in "ab"} <= set(figures)
    assert figures["health/pool_age_a"] == method.pool_a.mean_age / 4
    assert {f"health/grad_{name}" for name in method.networks} | {"health/grad_ratio"} <= set(figures)


def test_alarms_are_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1))
    health = Health(tmp_path, window=1)
    health.alarms.rules = (Rule("d_logit_real", low=1e9, too_low="The logits are {value:.0f}."),)
    fit(method, health, tmp_path)
    (alarm,) = json.loads((tmp_path / "alarms.json").read_text())
    assert (alarm["step"], alarm["figure"]) == (2, "d_logit_real")
    assert capsys.readouterr().err.count("batch 2: The logits are") == 1


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        Health(tmp_path, window=0)
    with pytest.raises(ValueError, match="n_images must be at least 2, got 1"):
        Health(tmp_path, n_images=1)


class Fixed(PatchDiscriminator):
    """A discriminator whose logit is the mean of the last channels of an image, less the first one's."""

    def forward(self, image: Tensor) -> Any:
        return super().forward(image) * 0 + (image[:, 3:] - image[:, :3]).mean(dim=(1, 2, 3), keepdim=True)


def test_logits_of_held_out_images_against_those_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """(seen - held out) / (seen - generated), each the mean over single images (Karras et al. 2020, equation 1)."""
    torch.manual_seed(0)
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4, norm="instance"), Fixed(6, 4, 1, norm="instance"), inference_mode="eval")
    health = Health(tmp_path, window=2, n_images=3)
    health.alarms.rules = (Rule("d_overfit", high=0.1, too_high="It is {value:.2f}.", window=1),)
    training = [{**batch, "B": batch["B"] * 0.1 + 0.8} for batch in batches(6)]
    # Real images that are two thirds of the way from those of training to the generated ones, which are about 0.
    held_out = [{**batch, "B": batch["B"] * 0.1 + 0.8 / 3} for batch in batches(3)]
    run = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[health], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path, log_every_n_steps=2,
    )  # fmt: skip
    loaders = [DataLoader(items, batch_size=None) for items in (training, held_out)]  # type: ignore[arg-type]
    run.fit(method, *loaders)
    figures = {name: float(v) for name, v in run.callback_metrics.items()}

    def logit(batch: dict[str, Tensor], image: str = "B") -> float:
        return (batch[image] - batch["A"]).mean().item()

    # Observed at batches 2, 4 and 6, of which the last two count.
    seen = np.mean([logit(training[i]) for i in (3, 5)])
    real = np.mean([logit(batch) for batch in held_out])
    fake = np.mean([logit({**batch, "fake": method.translate(batch)["fake_B"]}, "fake") for batch in held_out])
    assert figures["health/d_logit_seen"] == pytest.approx(seen, rel=1e-4)
    assert figures["health/d_logit_held_out"] == pytest.approx(real, rel=1e-4)
    overfit = figures["health/d_overfit"]
    assert overfit == pytest.approx((seen - real) / (seen - fake), rel=1e-4)
    assert 0.1 < overfit < 0.9
    assert f"batch 6: It is {overfit:.2f}." in capsys.readouterr().err

    again = Health(tmp_path, window=2)
    again.load_state_dict(health.state_dict())
    assert again.state_dict()["held_out"] == {"discriminator": [pytest.approx(logit(training[i])) for i in (3, 5)]}
    earlier = health.state_dict()
    del earlier["held_out"]
    again.load_state_dict(earlier)
    assert again.state_dict()["held_out"] == {}
    # Where generated images have the higher logits nothing can be told; without a training nothing is scored.
    again._held_out.remember({"discriminator": -9.0})
    again._held_out.begin()
    again._held_out.add(method, method.translate(held_out[0]))
    assert set(again._held_out.figures(run, method)) == {"d_logit_seen", "d_logit_held_out"}
    health.alarms.raised.clear()
    fresh = Health(tmp_path)
    fresh._held_out.begin()
    fresh._held_out.add(method, method.translate(held_out[0]))
    assert fresh._held_out.figures(run, method) == {}


def test_scoring_leaves_training_as_it_is(tmp_path: Path) -> None:
    """Random numbers, running statistics and weights."""
    states = []
    for callbacks in ([Health(tmp_path)], []):
        torch.manual_seed(0)
        method = CycleGAN(
            ResNetGenerator(3, 3, 0, 4), ResNetGenerator(3, 3, 0, 4), PatchDiscriminator(3, 4, 1),
            PatchDiscriminator(3, 4, 1), discriminator_augment=ADA(interval=1, ramp_images=4, target=-1),
        )  # fmt: skip
        run = Trainer(
            accelerator="cpu", max_epochs=2, callbacks=callbacks, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path, log_every_n_steps=1,
        )  # fmt: skip
        run.fit(method, batches(2), batches(2))
        states.append((method.state_dict(), torch.get_rng_state()))
        if callbacks:
            assert {"health/d_overfit_a", "health/d_overfit_b"} & set(run.callback_metrics)
            chance = method.adversarial.augment.probability  # type: ignore[union-attr]
            assert run.callback_metrics["health/augment_probability"] == chance
            assert chance == pytest.approx(0.8)
    assert all(map(torch.equal, states[0][0].values(), states[1][0].values()))
    assert torch.equal(states[0][1], states[1][1])


def test_rules_have_windows_of_their_own() -> None:
    alarms = Alarms(4, [Rule("x", high=1, too_high="x", window=2), Rule("y", high=1, too_high="y")])
    for step in range(2):
        found = alarms.observe({"x": 3.0, "y": 3.0}, step)
        assert [alarm["figure"] for alarm in found] == (["x"] if step else [])
    again = Alarms(4, alarms.rules)
    again.load_state_dict(alarms.state_dict())
    for _ in range(2):
        again.observe({"x": 0.0, "y": 3.0}, 3)
    assert again.state_dict()["values"] == {"x": [0.0, 0.0], "y": [3.0] * 4}
