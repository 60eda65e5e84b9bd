"""What a logger with pictures can do, and how callbacks say it to all loggers of a run at once."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, WandbLogger
from PIL import Image
from torch import Tensor


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
