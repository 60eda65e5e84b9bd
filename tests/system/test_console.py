"""What a run says: line breaks between values, and a log beside the logging of others."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from patchlight.system.console import join, run_log, say, wrap

NOTE = "discriminator: the receptive field, 70 x 70 px, is larger than the image (6 px of it are padding)"


@pytest.mark.parametrize("width", range(8, 110))
def test_no_line_ends_within_a_value(width: int) -> None:
    lines = wrap(NOTE, width, "  ")
    assert " ".join(line.strip() for line in lines) == NOTE
    assert all(len(line) <= max(width, len("  discriminator:")) for line in lines)
    assert sum("70 x 70 px" in line for line in lines) == sum("6 px" in line for line in lines) == 1


def test_paths_are_left_whole() -> None:
    path = "/a/very-long/path/" + "x" * 80
    assert wrap(f"folder {path}", 40) == ["folder", path]


def test_items_side_by_side() -> None:
    assert join(["epoch 1", "l1 0.5", "psnr 20"], 16, "    ") == ["epoch 1  l1 0.5", "    psnr 20"]
    assert join(["longer than the width", "b"], 5) == ["longer than the width", "b"]
    assert join(["a", "b"], 80) == ["a  b"]


def test_the_log_has_what_is_said_and_what_others_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said twice, and what comes before and after is not in it."""
    own = logging.getLogger("a.script.of.mine")
    say("before")
    with caplog.at_level(logging.INFO), run_log(tmp_path):
        assert not (tmp_path / "train.log").exists()
        say("epoch 1", "epoch 2")
        say("an alarm", error=True)
        own.info("mine")
        own.debug("too quiet")
    own.warning("after")
    with run_log(tmp_path):
        say("went on")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.partition("][")[2] for line in lines] == [
        "patchlight.run][INFO] - epoch 1", "patchlight.run][INFO] - epoch 2", "patchlight.run][WARNING] - an alarm",
        "a.script.of.mine][INFO] - mine", "patchlight.run][INFO] - went on",
    ]  # fmt: skip
    said = capsys.readouterr()
    assert said.out.splitlines() == ["before", "epoch 1", "epoch 2", "went on"]
    assert said.err.splitlines() == ["an alarm"]


def test_a_file_that_others_write_is_left_to_them(tmp_path: Path) -> None:
    """As with Hydra's own job_logging, which writes train.log."""
    handler = logging.FileHandler(tmp_path / "train.log")
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with run_log(tmp_path):
            say("once")
        assert handler in root.handlers
    finally:
        root.removeHandler(handler)
        handler.close()
    assert (tmp_path / "train.log").read_text() == "once\n"


def test_a_full_disk_ends_the_log_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.log").mkdir()
    with run_log(tmp_path):
        say("a", "b")
    assert capsys.readouterr() == ("a\nb\n", "")
