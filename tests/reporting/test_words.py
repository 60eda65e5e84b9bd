"""Sentences of the page, by what the runs left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from patchlight.reporting.collect import Run, collect
from patchlight.reporting.differences import find_differences
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import make_groups, make_table
from patchlight.reporting.words import cautions, data_name, no_alarm, page_title, questions

MakeRun = Callable[..., Path]


def test_the_title_names_task_model_and_data(make_run: MakeRun) -> None:
    for i, root in enumerate(["data/facades", "/sets/maps/"]):
        folder = make_run(str(i), figures={"l1": 0.3}, changes={"data.root": root}).parent
    assert page_title(collect([folder])) == "facades: Pix2Pix (UNetGenerator) on facades and maps"
    for i, name in enumerate("abc"):
        make_run(name, figures={"l1": 0.3}, changes={"data.root": name, "model._target_": f"mine.Model{i % 2}"})
    title = "facades: Pix2Pix (UNetGenerator), Model0 (UNetGenerator) and Model1 (UNetGenerator) on 5 data sets"
    runs = sorted(collect([folder]), key=lambda run: run.name)
    assert page_title(runs) == title


def test_a_question_is_asked_once_and_makes_no_difference(make_run: MakeRun) -> None:
    for i, question in enumerate(["Does R1 help?", "Does R1 help?", None, "Or not?"]):
        folder = make_run(str(i), seed=i, figures={"l1": 0.3}, changes={"question": question}).parent
    runs = collect([folder])
    assert questions(runs) == ["Does R1 help?", "Or not?"]
    assert find_differences(runs).factors == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"root": "data/facades", "source": {"_target_": "mine.Slides"}}, "facades"),
        (
            {"root": None, "source": {"_target_": "mine.Slides"}, "_target_": "patchlight.data.ImageDataModule"},
            "Slides",
        ),
        ({"_target_": "mine.OwnModule"}, "OwnModule"),
        ({}, "unnamed data"),
    ],
)
def test_data_is_named_by_its_folder_or_class(data: dict[str, Any], name: str) -> None:
    assert data_name(data) == name


def run_with(n: int, window: int | None) -> Run:
    config = {} if window is None else {"callbacks": {"health": {"window": window}}}
    return Run(Path("a"), f"{n}", "finished", config=config, curves=pd.DataFrame({"step": range(n), "health/x": 1.0}))


def test_no_alarm_means_little_after_few_observations() -> None:
    assert no_alarm([run_with(20, None), run_with(5, 5)]) == "No run raised an alarm."
    assert no_alarm([run_with(3, 5), run_with(4, 5)]) == (
        "No run raised an alarm, and none could have: an alarm is the mean of 5 observations, and the longest run "
        "has 4."
    )
    assert no_alarm([run_with(19, None), run_with(20, None)]) == (
        "No run raised an alarm. 1 of 2 runs were too short for one, with fewer observations than the 20 that an alarm "
        "is the mean of."
    )


def test_few_seeds_and_few_images_are_said(make_run: MakeRun, protocol: dict[str, Any]) -> None:
    def words(root: Path) -> list[str]:
        runs = collect([root])
        protocols = Protocols(runs, "last")
        return cautions(make_table(make_groups(runs, find_differences(runs)), "last", protocols), protocols)

    root = make_run("0", seed=0, figures={"l1": 0.3}).parent
    assert words(root) == []
    make_run("1", seed=1, figures={"l1": 0.4}, protocol=protocol | {"images": 12})
    assert words(root) == [
        "The figures are means over 12 images: another test set of this size may rank otherwise.",
    ]
    make_run("2", seed=2, figures={"l1": 0.4})
    assert words(root)[0].startswith(
        "A deviation over two seeds is a rough guess: the true one lies between 0.45 and 32"
    )
