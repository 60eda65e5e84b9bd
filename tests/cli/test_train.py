"""What `patchlight-train` says before there is anything to train."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from commands import Typed


@pytest.mark.parametrize("module", ["train", "translate", "report", "doctor"])
def test_the_version_is_that_of_the_package(module: str, typed: Typed) -> None:
    assert typed(module, "--version") == (0, f"patchlight {version('patchlight')}\n", "")


def test_help_lists_what_can_be_chosen(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("root: x\n")
    out = typed("train", f"--config-dir={tmp_path}", "--help").out
    groups = dict(line.split(": ") for line in out.partition("==\n")[2].partition("\n\n")[0].splitlines())
    assert groups["data"] == "colorization, mine, paired, single, synthetic, synthetic_unpaired, unpaired"
    assert groups["model"] == "cut, cyclegan, fastcut, pix2pix, pix2pixhd"
    assert not any(
        group.startswith(("hydra", "wandb")) or "_" in (group[0], group.rpartition("/")[2][0]) for group in groups
    )


def test_a_training_without_words_says_what_it_is(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchlight.cli.train.start_hydra", lambda verb, job: None)
    said = (
        "patchlight-train without arguments trains for 200 epochs on built-in images, which it renders into "
        "data/synthetic-"
    )
    assert typed("train").out.startswith(said)
    assert typed("train", "seed=1").out == ""
