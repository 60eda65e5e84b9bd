from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from two_scales import TwoScales

from commands import Typed
from patchlight.errors import DataError
from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.pixels import Pixels, from_array
from patchlight.page.catalogue import Catalogue, Models, find_choices
from patchlight.page.intake import ANY
from patchlight.page.studio import ScoreSummary, Studio, common_scale
from patchlight.pictures import overlay


def test_all_below_a_folder_can_be_chosen(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    save("runs/b/checkpoints/last.ckpt")
    save("runs/a/last.ckpt")
    (tmp_path / "runs/a/broken.ckpt").write_bytes(b"not a checkpoint")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "runs/a/foreign.ckpt")
    choices = find_choices(tmp_path / "runs")
    assert [choice.name for choice in choices] == [
        "a/broken.ckpt", "a/foreign.ckpt", "a/last.ckpt", "b/checkpoints/last.ckpt",
    ]  # fmt: skip
    assert "damaged" in str(choices[0].problem) or "holds more than" in str(choices[0].problem)
    # An archive of PyTorch's: only loading it tells.
    assert [choice.problem for choice in choices[1:]] == [None] * 3
    catalogue = Catalogue(choices, Models("cpu"), "auto")
    assert catalogue.first == "a/last.ckpt"
    assert catalogue.labels[:3] == [
        ("a/broken.ckpt (cannot be used)", "a/broken.ckpt"),
        ("a/foreign.ckpt (cannot be used)", "a/foreign.ckpt"),
        ("a/last.ckpt", "a/last.ckpt"),
    ]


def test_a_model_folder_is_a_choice(save, tmp_path: Path, typed: Typed) -> None:  # type: ignore[no-untyped-def]
    """One that `patchlight-export format=hub` wrote, by itself or below a folder, with its patch map."""
    path = save("run/checkpoints/last.ckpt")
    for output in ("models/a", "models/b"):
        written = typed("export", f"ckpt={path}", f"output={tmp_path / output}", "format=hub", "networks=all")
        assert written[0] == 0
    (tmp_path / "models/b/model.safetensors").write_bytes(b"rubbish")
    choices = find_choices(tmp_path / "models")
    assert [(choice.name, choice.problem is None) for choice in choices] == [("a", True), ("b", False)]
    assert [choice.name for choice in find_choices(tmp_path / "models/a")] == ["a"]
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64)
    of_file, of_folder = (Models("cpu")(p).patch_scorer("AtoB") for p in (path, tmp_path / "models/a"))
    assert torch.equal(*(scorer(image, image)[0] for scorer in (of_file, of_folder)))


def test_nothing_to_choose_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \*.ckpt below it"):
        find_choices(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="none of the 1 checkpoints below"):
        find_choices(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        find_choices(tmp_path / "b.ckpt")


def test_models_stay_until_they_change_or_go(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path, models = save("a.ckpt", ema=True), Models("cpu")
    first = models(path)
    assert models(path) is first
    assert (first.directions, first.weights, first.side) == (["AtoB"], ["ema", "raw"], 64)
    os.utime(path, ns=(1, 1))
    second = models(path)
    assert second is not first
    for name in ("b.ckpt", "c.ckpt"):
        models(save(name, "cyclegan"))
    assert models(path) is second
    models(save("d.ckpt"))
    models(save("e.ckpt"))
    models(save("f.ckpt"))
    assert models(path) is not second
    path.unlink()
    with pytest.raises(DataError, match="not there any more"):
        models(path)


def test_a_translation_is_that_of_the_translator_and_has_its_patch_maps(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path, models = save("a.ckpt", ema=True), Models("cpu")
    studio = Studio(models, tmp_path)
    array = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    scene = studio.translate(path, "AtoB", "raw", Pixels(array), "my house!")
    assert np.array_equal(scene.translated.colour, models(path).translator("AtoB", "raw")(array))
    assert not np.array_equal(scene.translated.colour, models(path).translator("AtoB", "ema")(array))
    assert scene.result.name == "my_house_AtoB_a.png"
    assert scene.over_result is not None
    assert scene.over_result.name == "my_house_AtoB_a_patch_map.png"
    assert "mean score" in scene.scores
    assert "of 30x30 patches taken for real" in scene.scores
    compared = studio.compare(scene, Pixels(array))
    assert compared.scores.count("mean score") == 2
    with pytest.raises(DataError, match="The real image has 32x64 pixels and the input 64x64"):
        studio.compare(scene, Pixels(array[:, :32]))


def test_the_patch_maps_of_all_scales_stand_side_by_side() -> None:
    torch.manual_seed(0)
    scorer = PatchScorer(TwoScales(3), sees_source=False, boundary=0.0, device=torch.device("cpu"), image_size=(64, 64))
    image = torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    summary = ScoreSummary.of(scorer, image, image)
    scale = common_scale(summary)
    picture = np.asarray(summary.over(image, scale))
    assert picture.shape == (128, 160 + 8 + 160, 3)
    for grid, logits, columns in zip(scorer.grids(128, 160), summary.maps, (slice(160), slice(168, None)), strict=True):
        assert np.array_equal(picture[:, columns], np.asarray(overlay(image, logits, grid, scale)))
    assert "of 62x78 and 30x38 patches taken for real" in summary.words()
    assert summary.mean == pytest.approx(np.mean([float(logits.mean()) for logits in summary.maps]))


def test_the_alpha_of_a_network_of_four_channels_is_one_of_them(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path, models = save("a.ckpt", "pix2pix", "data.channels_a=4", "data.channels_b=4"), Models("cpu")
    studio = Studio(models, tmp_path)
    array = np.random.default_rng(0).integers(0, 256, (64, 48, 4), dtype=np.uint8)
    scene = studio.translate(path, "AtoB", "raw", from_array(array), "a")
    assert np.array_equal(np.asarray(Image.open(scene.result)), models(path).translator("AtoB", "raw")(array))
    assert "of 30x22 patches taken for real" in scene.scores
    assert studio.compare(scene, from_array(array)).scores.count("of 30x22 patches") == 2
    for refused in (
        lambda: studio.translate(path, "AtoB", "raw", from_array(array[..., :3]), "a"),
        lambda: studio.compare(scene, from_array(array[..., :3])),
    ):
        with pytest.raises(DataError, match="^The image does not fit this network: it has 3 channels where 4 are want"):
            refused()
    path = save("b.ckpt", "pix2pix", "data.channels_b=6")
    with pytest.raises(DataError, match="^This network makes images of 6 channels, which no picture can show"):
        studio.translate(path, "AtoB", "raw", from_array(array), "a")


def test_an_image_too_small_for_a_patch_map_is_still_translated(save, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = save("a.ckpt", "cyclegan", "model.discriminator.n_layers=3")
    studio = Studio(Models("cpu"), tmp_path)
    scene = studio.translate(path, "BtoA", "raw", Pixels(np.zeros((12, 12, 3), np.uint8)), "a")
    assert scene.translated.size == (12, 12)
    assert scene.over_result is None
    assert scene.scores.startswith("No patch map: 12x12 pixels are too few")


def test_the_canvas_has_the_colours_of_the_direction(save) -> None:  # type: ignore[no-untyped-def]
    path = save("a.ckpt", "cyclegan", "data.root=sets/facades")
    catalogue = Catalogue(find_choices(path), Models("cpu"), "auto")
    assert '"labels": true' in catalogue.canvas("a.ckpt", "BtoA")
    assert '["window", "#0080ff"]' in catalogue.canvas("a.ckpt", "BtoA")
    assert '"labels": false' in catalogue.canvas("a.ckpt", "AtoB")
    assert catalogue.palette_for("a.ckpt", "AtoB") is ANY
