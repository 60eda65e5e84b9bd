from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchlight.reporting import plots
from patchlight.reporting.collect import collect
from patchlight.reporting.curves import AXES
from patchlight.reporting.differences import Settings, find_differences
from patchlight.reporting.plots import INK, Plot, colour_of, curve_plots, dashes_of, key_plots, series_labels
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import Table, make_groups, make_table

MakeRun = Callable[..., Path]


def compared(root: Path) -> tuple[Table, Settings]:
    runs = [run for run in collect([root]) if run.finished]
    settings = find_differences(runs)
    return make_table(make_groups(runs, settings), "last", Protocols(runs, "last")), settings


def texts(plot: Plot) -> list[str]:
    return [element.text or "" for element in ET.fromstring(plot.svg).iter() if element.tag.endswith("text")]


def test_one_thing_that_differed_is_the_axis(sweep: Path) -> None:
    table, settings = compared(sweep)
    plots = key_plots(table, settings)
    assert [plot.title for plot in plots] == ["l1", "psnr", "lpips", "frechet_alexnet"]
    assert {"l1 ↓", "receptive field (px)", "1", "16", "34", "70"} <= set(texts(plots[0]))
    assert series_labels(table, settings) == []


def test_words_can_be_the_axis(make_run: MakeRun) -> None:
    for i, mode in enumerate(["lsgan", "vanilla"]):
        root = make_run(str(i), figures={"l1": 0.3}, changes={"model.gan_mode": mode}).parent
    (plot,) = key_plots(*compared(root))
    assert {"lsgan", "vanilla", "gan_mode"} <= set(texts(plot))


def test_other_things_that_differed_are_lines(make_run: MakeRun) -> None:
    for n_layers in (1, 2):
        for mode in ("lsgan", "vanilla"):
            name = f"{n_layers}{mode}"
            root = make_run(name, n_layers=n_layers, figures={"l1": 0.3}, changes={"model.gan_mode": mode}).parent
    table, settings = compared(root)
    assert len(key_plots(table, settings)) == 1
    assert series_labels(table, settings) == ["gan_mode=lsgan", "gan_mode=vanilla"]


def test_nothing_is_drawn_where_there_is_no_axis(make_run: MakeRun) -> None:
    changes = [{"model.gan_mode": "lsgan", "data.root": "a"}, {"model.gan_mode": "vanilla", "data.root": "b"}]
    root = make_run("0", figures={"l1": 0.3}, changes=changes[0]).parent
    assert key_plots(*compared(root)) == []
    make_run("1", figures={"l1": 0.3}, changes=changes[1])
    assert key_plots(*compared(root)) == []


def test_figures_that_are_no_numbers_can_be_drawn(make_run: MakeRun) -> None:
    make_run("a", n_layers=1, figures={"l1": None})
    root = make_run("b", n_layers=2, figures={"l1": None}).parent
    assert len(key_plots(*compared(root))) == 1


def test_a_curve_as_svg_and_png(sweep: Path, tmp_path: Path) -> None:
    table, _ = compared(sweep)
    curves = curve_plots("val/l1", table.groups, AXES[:2])
    assert list(curves) == ["batches", "images"]
    assert (curves["images"].png, "images seen" in texts(curves["images"])) == (None, True)
    plot = curves["batches"]
    assert plot.svg.startswith('<svg role="img" aria-label="val/l1"')
    root = ET.fromstring(plot.svg)
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib
    assert INK not in plot.svg
    for group in table.groups:
        assert colour_of(group.number).lower() in plot.svg.lower()
    assert {"val/l1", "batches"} <= set(texts(plot))
    path = plot.save(tmp_path)
    assert path.name == "curve_val_l1.png"
    with Image.open(BytesIO(path.read_bytes())) as image:
        assert image.width == pytest.approx(4.3 * 160, abs=1)


def test_a_long_legend_stays_within_its_picture() -> None:
    figure, axes = plots._figure("l1")
    for name in ("one", "two"):
        axes.plot([1, 2], [1, 2], label=", ".join(f"{name}_long_setting_{i}=value" for i in range(8)))
    with Image.open(BytesIO(plots._png(figure, legend=True))) as image:
        picture = np.asarray(image.convert("L"))
    assert picture[:, [0, -1]].min() == 255
    assert picture[-160:].min() < 128, "the legend is there"


def test_many_groups_can_be_told_apart() -> None:
    assert len({(colour_of(i), dashes_of(i)) for i in range(28)}) == 28
