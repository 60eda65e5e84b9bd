"""Loggers of every run: metrics.csv, and the interface of dashboards, which show pictures beside figures."""

from __future__ import annotations

import contextlib
import csv
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from pydantic import PositiveInt
from torch import Tensor

from patchlight.system.lightning_internals import is_first


class Dashboard(Logger):
    """A logger that shows more than figures. Only rank 0 does anything.

    `step` counts batches, `images_seen` images.
    """

    @abstractmethod
    def open(self, config: dict[str, Any]) -> None:
        """Begin, with the resolved configuration of the run."""

    @abstractmethod
    def close(self, exit_code: int) -> None:
        """End, so that another run of this process has a dashboard of its own; 0 is success."""

    @abstractmethod
    def pictures(self, pictures: Mapping[str, Image.Image], step: int, images_seen: int) -> None:
        """Show pictures, each under its name."""

    @abstractmethod
    def histograms(self, histograms: Mapping[str, Tensor], step: int, images_seen: int) -> None:
        """Show the distributions of finite values, each a tensor of one dimension on the CPU."""

    @abstractmethod
    def alert(self, title: str, text: str) -> None:
        """Tell whoever watches."""

    @abstractmethod
    def checkpoints(self, paths: Iterable[Path]) -> None:
        """Keep the files of a run that has ended, where the configuration asks for it."""


def log_pictures(loggers: Iterable[Logger], pictures: Mapping[str, Image.Image], step: int, images_seen: int) -> None:
    """Show pictures on all dashboards of a run, those of one moment together."""
    for dashboard in _dashboards(loggers):
        dashboard.pictures(pictures, step, images_seen)


def log_histograms(loggers: Iterable[Logger], histograms: Mapping[str, Tensor], step: int, images_seen: int) -> None:
    """Show on all dashboards how values are distributed; what is not a finite number is left out."""
    values = {name: tensor.detach().float().flatten().cpu() for name, tensor in histograms.items()}
    finite = {name: tensor[torch.isfinite(tensor)] for name, tensor in values.items()}
    displayed = {name: tensor for name, tensor in finite.items() if len(tensor)}
    for dashboard in _dashboards(loggers):
        dashboard.histograms(displayed, step, images_seen)


def alert(loggers: Iterable[Logger], title: str, text: str) -> None:
    """Tell whoever watches the dashboards. Never raises."""
    for dashboard in _dashboards(loggers):
        with contextlib.suppress(Exception):
            dashboard.alert(title, text)


def log_checkpoints(loggers: Iterable[Logger], paths: Iterable[Path]) -> None:
    """Hand the checkpoints that a run has left to the dashboards that keep them."""
    files = [path for path in paths if path.is_file()]
    for dashboard in _dashboards(loggers):
        dashboard.checkpoints(files)


def _dashboards(loggers: Iterable[Logger]) -> Iterator[Dashboard]:
    return (logger for logger in loggers if isinstance(logger, Dashboard))


def wandb_id(loggers: Iterable[Logger]) -> str | None:
    """The id of the W&B run that is logged to."""
    return next((str(lg.version) for lg in loggers if isinstance(lg, WandbLogger) and lg.version), None)


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
