"""Patch maps of single images, as the training's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from patchlight.errors import ConfigError, DataError
from patchlight.inference import patch_scorer as scoring
from patchlight.inference import tiled
from patchlight.inference.loading import TrainedModel
from patchlight.inference.pixels import to_values
from patchlight.methods import TranslationMethod
from patchlight.networks import PatchGrid

Make = Callable[..., tuple[Path, TranslationMethod]]
Draw = Callable[..., Image.Image]


@pytest.mark.parametrize(("model", "direction", "name"), [
    ("pix2pix", "AtoB", "discriminator"), ("cyclegan", "AtoB", "discriminator_b"),
    ("cyclegan", "BtoA", "discriminator_a"),
])  # fmt: skip
def test_it_judges_as_in_training(make: Make, model: str, direction: str, name: str) -> None:
    path, method = make(model)
    torch.manual_seed(2)
    images = {key: torch.rand(1, 3, 64, 96) * 2 - 1 for key in ("real_A", "real_B", "fake_A", "fake_B")}
    (expected,) = method.score_pairs(images)[name][1]
    scorer = TrainedModel(path).patch_scorer(direction=direction, device="cpu")  # type: ignore[arg-type]
    source, target = direction[0], direction[-1]
    (logits,) = scorer(images[f"fake_{target}"][0], images[f"real_{source}"][0])
    torch.testing.assert_close(logits, expected[0, 0])
    assert tuple(logits.shape) == scorer.grids(64, 96)[0].size


@pytest.mark.parametrize(
    ("model", "overrides", "boundary"),
    [
        ("pix2pix", [], 0.0),
        ("cyclegan", [], 0.5),
        ("cyclegan", ["model.real_label=0.9"], 0.45),
        ("pix2pix", ["model.gan_mode=wgangp", "model.unpenalized_critic=true"], None),
    ],
)
def test_boundary(make: Make, model: str, overrides: list[str], boundary: float | None) -> None:
    assert TrainedModel(make(model, *overrides)[0]).patch_scorer(device="cpu").boundary == boundary


def test_what_it_cannot_judge(make: Make) -> None:
    model = TrainedModel(make("pix2pix")[0])
    with pytest.raises(ConfigError, match="direction=BtoA is not what .* was trained for: it translates AtoB only"):
        model.patch_scorer(direction="BtoA")
    small = torch.zeros(3, 20, 40)
    with pytest.raises(DataError, match="^40x20 pixels are too few for a patch map, which needs 24 on each side$"):
        model.patch_scorer(device="cpu")(small, small)


@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
@pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])
def test_a_large_image_in_parts(
    make: Make, picture: Draw, monkeypatch: pytest.MonkeyPatch, model: str, norm: str
) -> None:
    scorer = TrainedModel(make(model, f"model.discriminator.norm={norm}")[0]).patch_scorer(device="cpu")
    image, source = (np.asarray(picture(501, 327, seed=seed)) for seed in (0, 1))
    (whole,) = scorer.of_arrays(image, source)
    arrays = (to_values([array], torch.device("cpu"))[0] for array in (image, source))
    torch.testing.assert_close(whole, *scorer(*arrays), atol=0, rtol=0)
    monkeypatch.setattr(scoring, "WHOLE_PIXELS", 0)
    monkeypatch.setattr(scoring, "AUTO_SIDE", 128)
    (in_parts,) = scorer.of_arrays(image, source)
    assert in_parts.shape == whole.shape
    if norm == "none":
        torch.testing.assert_close(in_parts, whole)
        return
    assert torch.corrcoef(torch.stack([in_parts.ravel(), whole.ravel()]))[0, 1] > 0.7
    # With the statistics of the whole image the parts are the whole.
    monkeypatch.setattr(tiled, "spread_crops", lambda *_: [(slice(None), slice(None))])
    torch.testing.assert_close(*scorer.of_arrays(image, source), whole, atol=1e-4, rtol=1e-4)


def test_pictures(make: Make, picture: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = TrainedModel(make("cyclegan")[0]).patch_scorer(device="cpu")
    image = picture(300, 200)
    logits = torch.full((23, 36), 5.0)
    logits[:, :18] = -5
    (only,) = scorer.draw(image, (logits,))
    drawn = np.asarray(only).astype(int)
    assert drawn.shape == (200, 300, 3)
    red, blue = drawn[:, :130].mean((0, 1)), drawn[:, 170:].mean((0, 1))
    assert red[0] > red[2] + 30
    assert blue[2] > blue[0] + 30
    monkeypatch.setattr(scoring, "MAX_PICTURE", 150)
    (only,) = scorer.draw(image, (logits,))
    reduced = np.asarray(only).astype(int)
    assert reduced.shape == (100, 150, 3)
    assert np.abs(reduced - drawn[::2, ::2]).mean() < 6
    deep = np.full((4, 5, 1), 257 * 7, np.uint16)
    assert (np.asarray(scoring.as_picture(deep)) == 7).all()


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_a_map_for_each_scale(make: Make, picture: Draw, monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    two = ("model.discriminator._target_=two_scales.TwoScales", f"model.discriminator.norm={norm}")
    path, method = make("pix2pix", *two, "model.discriminator.n_layers=1")
    scorer = TrainedModel(path, trust=True).patch_scorer(device="cpu")
    assert scorer.n_maps == 2
    image, source = (np.asarray(picture(500, 326, seed=seed)) for seed in (0, 1))
    whole = scorer.of_arrays(image, source)
    values, given = (to_values([array], torch.device("cpu")) for array in (image, source))
    judged = method.score_pairs({"real_A": given, "real_B": values, "fake_B": values})["discriminator"][1]
    assert [tuple(logits.shape) for logits in whole] == [grid.size for grid in scorer.grids(326, 500)]
    for logits, expected in zip(whole, judged, strict=True):
        torch.testing.assert_close(logits, expected[0, 0], atol=1e-5, rtol=1e-4)
    drawn = scorer.draw(picture(500, 326), whole)
    assert [heat_map.size for heat_map in drawn] == [(500, 326)] * 2
    monkeypatch.setattr(scoring, "WHOLE_PIXELS", 0)
    monkeypatch.setattr(scoring, "AUTO_SIDE", 64)
    monkeypatch.setattr(tiled, "spread_crops", lambda *_: [(slice(None), slice(None))])
    torch.testing.assert_close(scorer.of_arrays(image, source), whole, atol=1e-4, rtol=1e-4)


def test_a_discriminator_that_sees_all_images_at_one_size_sees_a_large_one_in_one_piece(
    make: Make, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = TrainedModel(make("cyclegan", "model.discriminator.norm=none")[0]).patch_scorer(device="cpu")
    network, image = scorer.discriminator, np.asarray(picture(300, 200))
    own = type(network).forward

    def scaled(images: Tensor) -> Tensor:
        return own(network, F.interpolate(images, size=(64, 64)))  # type: ignore[arg-type]

    def grids(height: int, width: int) -> tuple[PatchGrid, ...]:
        return (PatchGrid(70 * height // 64, 8 * height / 64, 12 * height / 64, (6, 6)),)

    monkeypatch.setattr(network, "forward", scaled)
    with pytest.raises(DataError, match="300x200 pixels have no patch map: the receptive field of PatchDiscriminator"):
        scorer.of_arrays(image, image)
    monkeypatch.setattr(network, "patch_grids", grids)
    (whole,) = scorer.of_arrays(image, image)
    monkeypatch.setattr(scoring, "WHOLE_PIXELS", 0)
    monkeypatch.setattr(scoring, "AUTO_SIDE", 128)
    assert torch.equal(*scorer.of_arrays(image, image), whole)


def test_networks_that_were_never_trained_are_not_used(make: Make) -> None:
    path, _ = make("cyclegan")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["patchlight"]["untrained"] = ["generator_ba", "discriminator_b"]
    torch.save(checkpoint, path)
    model = TrainedModel(path)
    assert model.translator(device="cpu").direction == "AtoB"
    with pytest.raises(ConfigError, match="direction=BtoA has a generator with initial weights in .*cyclegan.ckpt"):
        model.translator(direction="BtoA")
    with pytest.raises(ConfigError, match="was imported without the discriminator of direction=AtoB"):
        model.patch_scorer()
