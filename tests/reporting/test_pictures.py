from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from patchlight.reporting.collect import Run, collect
from patchlight.reporting.pictures import MAX_SIDE, Colours, Picture, contact_sheets, heat_gradient, sample_grids

MakeRun = Callable[..., Path]


@pytest.fixture
def runs(make_run: MakeRun) -> list[Run]:
    for seed in (0, 1):
        root = make_run(str(seed), seed=seed, figures={"l1": 0.3}).parent
    return collect([root])


def opened(picture: Picture | None) -> Image.Image:
    assert picture is not None
    head, _, text = picture.uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_outputs_of_the_same_inputs_stand_side_by_side(runs: list[Run]) -> None:
    (grid,) = sample_grids(runs)
    assert [run.name for run in grid.runs] == ["0", "1"]
    assert (len(grid.sources), len(grid.targets), len(grid.outputs)) == (2, 2, 2)
    assert [[output.what for output in cell] for cell in grid.outputs[1]] == [["output", "heat map"]] * 2
    picture = grid.outputs[1][0][0].picture
    assert picture.alt == "output of input 01, 0"
    assert (picture.width, picture.height) == opened(picture).size == (128, 128)
    with Image.open(runs[0].samples / "latest" / "01_fake_B.png") as original:
        expected = original.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    found = opened(picture).convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert found == pytest.approx(expected, abs=4)


def test_cyclegan_has_two_directions(make_run: MakeRun) -> None:
    runs = collect([make_run("a", figures={"l1": 0.3}, method="cyclegan")])
    there, back = sample_grids(runs)
    assert (there.title, back.title) == ("A to B", "B to A")
    assert there.targets == []
    assert [output.what for output in there.outputs[0][0]] == ["output", "heat map", "reconstruction"]


def test_each_scale_has_a_heat_map(runs: list[Run]) -> None:
    latest = runs[1].samples / "latest"
    for number in ("00", "01"):
        (latest / f"{number}_discriminator_fake.png").rename(latest / f"{number}_discriminator_scale1_fake.png")
        Image.new("RGB", (128, 128)).save(latest / f"{number}_discriminator_scale2_fake.png")
    (grid,) = sample_grids(runs)
    assert [[output.what for output in cell] for cell in grid.outputs[0]] == [
        ["output", "heat map"], ["output", "heat map, scale 1", "heat map, scale 2"],
    ]  # fmt: skip


def test_heat_maps_have_the_logits_of_their_colours(runs: list[Run]) -> None:
    (runs[0].samples / "latest" / "colours.json").write_text('{"discriminator": {"white": 0.5, "full": 2.25}}')
    (runs[1].samples / "latest" / "colours.json").write_text('{"discriminator": {"white": "x"}, "other": 3}')
    (grid,) = sample_grids(runs)
    assert [output.colours for output in grid.outputs[0][0]] == [None, Colours(0.5, 2.25)]
    assert grid.outputs[0][0][1].colours.ends == ("-1.75", "0.5", "2.75")  # type: ignore[union-attr]
    assert [output.colours for output in grid.outputs[0][1]] == [None, None]
    (runs[1].samples / "latest" / "colours.json").write_text("[")
    assert sample_grids(runs)[0].outputs[0][1][1].colours is None
    # The colours of the heat maps themselves: red, white, blue.
    stops = heat_gradient().removeprefix("linear-gradient(to right, ").removesuffix(")").split(", ")
    assert (stops[0], stops[5], stops[10]) == ("#67001f", "#f6f7f7", "#053061")


def test_other_inputs_are_another_grid(runs: list[Run]) -> None:
    Image.new("RGB", (128, 128)).save(runs[1].samples / "latest" / "00_real_A.png")
    assert [[run.name for run in grid.runs] for grid in sample_grids(runs)] == [["0"], ["1"]]


def test_missing_and_damaged_pictures_leave_gaps(runs: list[Run]) -> None:
    latest = runs[0].samples / "latest"
    (latest / "00_discriminator_fake.png").unlink()
    (latest / "01_fake_B.png").write_bytes(b"\x89PNG damaged")
    (grid,) = sample_grids(runs)
    assert [output.what for output in grid.outputs[0][0]] == ["output"]
    assert [output.what for output in grid.outputs[1][0]] == ["heat map"]
    assert [output.what for output in grid.outputs[1][1]] == ["output", "heat map"]


def test_large_pictures_are_made_smaller(runs: list[Run]) -> None:
    for run in runs:
        for path in (run.samples / "latest").glob("*.png"):
            with Image.open(path) as image:
                image.resize((600, 300)).save(path)
    (grid,) = sample_grids(runs)
    assert opened(grid.sources[0]).size == (MAX_SIDE, MAX_SIDE // 2)
    (small,) = sample_grids(runs, budget=100_000)
    assert opened(small.sources[0]).width < MAX_SIDE


def test_older_runs_show_their_newest_sheet(make_run: MakeRun) -> None:
    folder = make_run("a", figures={"l1": 0.3}, method=None)
    (folder / "samples").mkdir()
    for name, width in (("step_00000010", 10), ("step_00000020", 20), ("step_00000030_discriminator", 30)):
        Image.new("RGB", (width, 5)).save(folder / "samples" / f"{name}.png")
    runs = collect([folder])
    assert sample_grids(runs) == []
    ((run, picture),) = contact_sheets(runs)
    assert run is runs[0]
    assert picture.width == 20


def test_runs_with_single_pictures_show_no_sheet(runs: list[Run]) -> None:
    Image.new("RGB", (5, 5)).save(runs[0].samples / "step_00000010.png")
    assert contact_sheets(runs) == []
