"""metrics.csv: a row per logged event, kept when a run goes on in its own directory."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class MetricsCSV(CSVLogger):
    """Lightning's CSV logger, writing straight to `folder`/metrics.csv and going on with a file that is there."""

    def __init__(self, folder: str | Path, flush_logs_every_n_steps: int = 50) -> None:
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer, made when it is first needed."""
        if not isinstance(self._experiment, ExperimentWriter):
            self._experiment = _ContinuingWriter(log_dir=str(self.save_dir))
        return self._experiment


class _ContinuingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Take up the columns of an earlier part of the run, where Lightning would remove the file."""
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])
