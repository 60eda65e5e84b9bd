"""TensorBoard: the same figures, pictures and histograms, in a folder of the run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from patchlight.config.compose import dotted
from patchlight.errors import ConfigError
from patchlight.loggers.base import Dashboard

RESULTS = ("val/l1", "test/l1")
"""The figures by which the HPARAMS page compares runs."""


class TensorBoardRun(TensorBoardLogger, Dashboard):
    """Lightning's TensorBoard logger, writing straight to `folder`. The x-axis counts batches.

    A run that is resumed goes on in the same folder, and hides what an earlier part of it logged after the checkpoint.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ConfigError("logger=tensorboard needs TensorBoard: pip install 'patchlight[tensorboard]'")
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False)
        self._config: dict[str, Any] = {}
        self._step: int | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, made when it is first needed."""
        if self._experiment is None:
            self._write_config(super().experiment)
        return super().experiment

    def _at(self, step: int) -> None:
        """Remember the step; with the first one, forget what an earlier part of the run logged behind it."""
        if self._step is None:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]

            # Of this step itself there may be pictures that came before the checkpoint.
            again = Event(session_log=SessionLog(status=SessionLog.START))
            self.experiment.file_writer.add_event(again, step + 1)
        self._step = step

    def _write_config(self, writer: Any) -> None:
        from torch.utils.tensorboard.summary import hparams

        writer.add_text("config", f"```yaml\n{OmegaConf.to_yaml(OmegaConf.create(self._config))}```")
        plain = {key: v if isinstance(v, (bool, int, float)) else str(v) for key, v in dotted(self._config)}
        for summary in hparams(plain, dict.fromkeys(RESULTS, 0.0)):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)

    def open(self, config: dict[str, Any]) -> None:
        self._config = config

    @rank_zero_only
    def close(self, exit_code: int) -> None:
        if self._experiment is not None:
            self._experiment.close()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is not None:
            self._at(step)
        super().log_metrics(metrics, step)

    def save(self) -> None:
        """Write out what is there. The configuration is in the run's folder already."""
        if self._experiment is not None:
            self._experiment.flush()

    @rank_zero_only
    def pictures(self, pictures: Mapping[str, Image.Image], step: int, images_seen: int) -> None:
        self._at(step)
        for name, picture in pictures.items():
            self.experiment.add_image(name, np.array(picture.convert("RGB")), step, dataformats="HWC")

    @rank_zero_only
    def histograms(self, histograms: Mapping[str, Tensor], step: int, images_seen: int) -> None:
        self._at(step)
        for name, values in histograms.items():
            self.experiment.add_histogram(name, values, step)

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        self.experiment.add_text("alerts", f"**{title}** {text}", self._step)

    def checkpoints(self, paths: Iterable[Path]) -> None:
        """Nothing: they lie beside TensorBoard's own files."""
