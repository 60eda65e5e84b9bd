"""CUT's own: patches and mirroring by chance, shared passes, terms without weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import SGD, assert_equal, cut, fit, images
from torch import Tensor

from patchlight.methods import CUT
from patchlight.networks import PatchSample, ResNetGenerator, UNetGenerator


class Spied(CUT):
    """Keeps the sizes for which patches are drawn, and what was drawn."""

    def draw_patch_ids(self, sizes: Sequence[int]) -> list[Tensor]:
        self.drawn = [*getattr(self, "drawn", []), (list(sizes), super().draw_patch_ids(sizes))]
        return self.drawn[-1][1]


def test_patches_are_drawn_once_for_each_term_and_step(tmp_path: Path) -> None:
    """Also where two batches make a step, as for one batch of both."""
    method = cut(num_patches=5, accumulate=2)
    method.__class__ = Spied
    fit(method, tmp_path, images(4))
    assert isinstance(method, Spied)
    assert [sizes for sizes, _ in method.drawn] == [[64, 16, 16]] * 4
    for sizes, ids in method.drawn:
        assert [len(set(each.tolist())) for each in ids] == [5, 5, 5]
        assert all(0 <= each.min() <= each.max() < size for each, size in zip(ids, sizes, strict=True))
    assert not torch.equal(method.drawn[0][1][0], method.drawn[1][1][0])


def test_passes_that_are_shared_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Translation and identity in one pass, as in small batches, and apart, as in large ones."""
    methods = []
    for pixels in (256**2, 0):
        monkeypatch.setattr("patchlight.methods.passes.MERGED_PIXELS", pixels)
        methods.append(cut(optimizer=SGD))
        fit(methods[-1], tmp_path, images(3))
    assert_equal(*methods)


def test_batch_norm_sees_the_passes_of_the_reference(tmp_path: Path) -> None:
    """A and B together, then queries and keys of both terms, each by itself."""
    method = cut(norm="batch", d_norm="instance")
    fit(method, tmp_path, images(2))
    layers = [m for m in method.generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [int(layer.num_batches_tracked) for layer in (layers[0], layers[-1])] == [10, 2]


@pytest.mark.parametrize(
    ("settings", "terms", "still"),
    [
        ({}, {"g_gan", "g_nce", "g_nce_identity"}, set()),
        ({"nce_identity": False}, {"g_gan", "g_nce"}, set()),
        ({"lambda_nce": 0.0}, {"g_gan"}, {"sampler"}),
        ({"lambda_gan": 0.0, "flip_equivariance": True}, {"g_nce", "g_nce_identity"}, set()),
        ({"sampler": PatchSample()}, {"g_gan", "g_nce", "g_nce_identity"}, {"sampler"}),
        ({"lambda_nce": 0.0, "sampler": PatchSample()}, {"g_gan"}, {"sampler"}),
    ],
)  # fmt: skip
def test_terms_without_weight(settings: dict[str, Any], terms: set[str], still: set[str], tmp_path: Path) -> None:
    record = fit(cut(optimizer=SGD, **settings), tmp_path, images(2))
    logged = {name.removeprefix("train/") for name in record.figures[-1] if name.startswith("train/")}
    assert logged == terms | {"g_total", "d_total", "d_real", "d_fake"}
    assert record.moved == [{"generator", "discriminator", "sampler"} - still] * 2


def test_discriminators_that_have_not_begun_leave_a_loss_of_no_term(tmp_path: Path) -> None:
    record = fit(cut(lambda_nce=0.0, discriminator_start=1, optimizer=SGD), tmp_path, images(2))
    assert record.figures[0]["train/g_total"] == 0
    assert record.figures[1]["train/g_total"] == pytest.approx(record.figures[1]["train/g_gan"])


def test_mirroring_by_chance() -> None:
    torch.manual_seed(3)
    method = cut()
    coins = [method.draw_flip() for _ in range(400)]
    assert 160 < sum(coins) < 240
    state = torch.get_rng_state()
    drawn = [method.draw_flip() for _ in range(20)]
    torch.set_rng_state(state)
    assert [method.draw_flip() for _ in range(20)] == drawn


def test_the_identity_image_is_shown() -> None:
    method, batch = cut().float(), {key: torch.rand(1, 3, 16, 16) for key in "AB"}
    made = method.translate(batch)
    assert torch.equal(made["idt_B"], method.translate({"A": batch["B"], "B": batch["B"]})["fake_B"])
    assert [[name for name, _ in block] for block in method.gallery] == [["real_A", "fake_B"], ["real_B", "idt_B"]]
    assert "idt_B" not in cut(nce_identity=False).float().translate(batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lambda_nce": -1.0}, "lambda_nce must not be negative"),
        ({"num_patches": 0}, "num_patches must be an integer of at least 1"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"negatives": "all"}, "negatives must be one of image, minibatch"),
        ({"nce_layers": (0, 4)}, r"nce_layers=\[0, 4\]: the sampler has perceptrons for 3"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(**settings)


def test_what_the_sampler_needs_to_know_of_the_generator() -> None:
    generator = ResNetGenerator(3, 3, n_blocks=2, ngf=2, antialias="both")
    settings, channels = {"nce_layers": [0, 4, 8, 12]}, {"A": 3, "B": 3}
    assert CUT.network_arguments("generator", settings, channels, lambda name: generator) == {}
    assert CUT.network_arguments("sampler", settings, channels, lambda name: generator) == {"in_channels": [3, 4, 8, 8]}
    with pytest.raises(ValueError, match=r"nce_layers=\[99\]: layers are numbers from 0 to 24 in this generator"):
        CUT.network_arguments("sampler", {"nce_layers": [99]}, channels, lambda name: generator)
    with pytest.raises(ValueError, match="UNetGenerator does not show its features"):
        CUT.network_arguments("sampler", settings, channels, lambda name: UNetGenerator(3, 3, num_downs=3, ngf=2))
    with pytest.raises(ValueError, match="generator makes 1 channels of 3 and has to encode both"):
        CUT.network_arguments("sampler", settings, {"A": 3, "B": 1}, lambda name: generator)
