"""metrics.csv, which a resumed run goes on with."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from pydantic import PositiveInt

from patchlight.system.lightning_internals import is_first


class MetricsCSV(CSVLogger):
    """Lightning's CSV logger, writing straight to `folder`/metrics.csv.

    A run that is resumed goes on with the file as it was when the checkpoint was written (`keep`). The file is whole at
    every moment: a new column makes a new file that takes the old one's place.
    """

    def __init__(self, folder: str | Path, flush_logs_every_n_steps: PositiveInt = 50) -> None:
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer, made when it is first needed."""
        if not isinstance(self._experiment, ExperimentWriter):
            self._experiment = _ContinuingWriter(log_dir=str(self.save_dir))
        return self._experiment

    @rank_zero_only
    def keep(self, rows: int) -> None:
        """Forget what was logged after the first rows, by a part of the run that is going to be repeated."""
        path = Path(self.save_dir) / ExperimentWriter.NAME_METRICS_FILE
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))[:rows]
        # Columns come back with the first figure in them.
        columns = sorted({name for line in lines for name, value in line.items() if value})
        if columns:
            _replace(path, columns, lines)
        else:
            path.unlink()
        self._experiment = None

    def flushed_rows(self) -> int:
        """Write everything out; how many rows the file has then. 0 on ranks that do not write."""
        if not is_first():
            return 0
        writer = self.experiment
        assert isinstance(writer, _ContinuingWriter)
        writer.save()
        return writer.rows


class _ContinuingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Take up the columns of an earlier part of the run, where Lightning would remove the file."""
        self.rows = 0
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.rows = sum(1 for _ in reader)
                self.metrics_keys = list(reader.fieldnames or [])

    def save(self) -> None:
        self.rows += len(self.metrics)
        super().save()

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            _replace(path, fieldnames, csv.DictReader(file))


def _replace(path: Path, columns: list[str], lines: Iterable[dict[str, str]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    temporary.replace(path)
