"""Where figures and pictures go: metrics.csv, which a resumed run goes on with, W&B and TensorBoard."""

from patchlight.loggers.base import (
    Dashboard,
    MetricsCSV,
    alert,
    log_checkpoints,
    log_histograms,
    log_pictures,
    wandb_id,
)
from patchlight.loggers.tensorboard import TensorBoardRun
from patchlight.loggers.wandb_run import WandbRun

__all__ = [
    "Dashboard",
    "MetricsCSV",
    "TensorBoardRun",
    "WandbRun",
    "alert",
    "log_checkpoints",
    "log_histograms",
    "log_pictures",
    "wandb_id",
]
