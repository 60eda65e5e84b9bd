from __future__ import annotations

import csv
from pathlib import Path

from patchlight.loggers import MetricsCSV


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def log(logger: MetricsCSV, steps: range) -> None:
        for step in steps:
            logger.log_metrics({"loss": step / 7} | ({"val": 1.5 * step} if step == 4 else {}), step=step)

    straight = MetricsCSV(whole)
    log(straight, range(8))
    assert straight.flushed_rows() == 8

    first = MetricsCSV(parts)
    log(first, range(3))
    rows = first.flushed_rows()
    log(first, range(3, 6))  # is going to be repeated, and has a column that was not there before
    first.save()
    assert len(table(parts)) == 6

    second = MetricsCSV(parts)
    second.keep(rows)
    assert set(table(parts)[0]) == {"loss", "step"}
    log(second, range(3, 8))
    assert second.flushed_rows() == 8
    assert (parts / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    second.keep(0)
    assert not (parts / "metrics.csv").exists()
    MetricsCSV(tmp_path / "none").keep(3)


def test_a_line_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    for step in range(3):
        logger.log_metrics({"loss": 0.5}, step=step)
    assert logger.flushed_rows() == 3
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("0.")
    MetricsCSV(tmp_path).keep(3)
    assert [row["step"] for row in table(tmp_path)] == ["0", "1", "2"]
