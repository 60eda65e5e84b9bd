"""Weights & Biases, which never stops a training."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from pydantic import PositiveFloat
from torch import Tensor

from patchlight.loggers.base import Dashboard
from patchlight.loggers.wandb_session import Session
from patchlight.system.lightning_internals import silent_experiment

BATCHES, IMAGES = "trainer/global_step", "images_seen"
"""The two x-axes: every row of a run has both."""

BINS = 64


class WandbRun(WandbLogger, Dashboard):
    """Lightning's W&B logger, as one run that begins with `open` and ends with `close`.

    Where W&B cannot be reached within `init_timeout` seconds, or there is no account, it is said once and the run is
    kept on the disk as an offline run. When a run ends, what is not sent after `finish_timeout` seconds stays on the
    disk. The variable WANDB_MODE (online, offline, disabled) goes before `offline`. `group`, `job_type`, `name` and
    `tags` that are None are W&B's own defaults. With `log_model` the checkpoints go up as versions of an artifact.
    """

    _failed: bool = False
    _attach_id: str | None = None
    """Set by Lightning in a process that was spawned: the run of the process that spawned it."""

    def __init__(
        self,
        save_dir: str | Path,
        project: str = "patchlight",
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        id: str | None = None,
        offline: bool = False,
        log_model: bool = False,
        init_timeout: PositiveFloat = 10.0,
        finish_timeout: PositiveFloat = 15.0,
    ) -> None:
        for key, seconds in (("init_timeout", init_timeout), ("finish_timeout", finish_timeout)):
            if seconds <= 0:
                raise ValueError(f"{key} must be a positive number of seconds, got {seconds}")
        # W&B's agent chooses the run's id for a sweep of its own.
        run_id = id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        super().__init__(save_dir=save_dir, project=project, id=run_id, offline=offline)
        self._sends_checkpoints = log_model
        self._images_seen: float | None = None
        settings = {
            "root_dir": str(save_dir), "project": project, "entity": entity, "run_group": group, "run_id": run_id,
            "run_job_type": job_type, "run_name": name, "run_notes": notes, "run_tags": tuple(tags) if tags else None,
            "init_timeout": init_timeout, "finish_timeout": finish_timeout,
        }  # fmt: skip
        self._session = Session(settings, offline)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun when it is first needed. Lightning asks for it, too, so it does not raise."""
        if self._experiment is None:
            self._attempt(self._begin)
        return silent_experiment() if self._experiment is None else self._experiment

    def _begin(self) -> None:
        if self._attach_id is not None:
            self._session.prepare()
            self._experiment = super().experiment
            return
        run = self._experiment = self._session.start()
        # Each row says both, so that either can be chosen as the x-axis.
        run.define_metric(BATCHES)
        run.define_metric(IMAGES)
        run.define_metric("*", step_metric=BATCHES, step_sync=True)

    @rank_zero_only
    def open(self, config: dict[str, Any]) -> None:
        self._attempt(lambda: super(WandbRun, self).log_hyperparams(config))
        if self._experiment is not None and self._experiment.url:
            print(f"W&B run: {self._experiment.url}")

    @rank_zero_only
    def close(self, exit_code: int) -> None:
        run: Any = self._experiment
        if run is not None:
            # Also after a failure: another run of this process would go on with this one.
            self._attempt(lambda: self._session.finish(run, exit_code), always=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._images_seen = metrics.get(IMAGES, self._images_seen)
        seen = {} if self._images_seen is None else {IMAGES: self._images_seen}
        self._attempt(lambda: super(WandbRun, self).log_metrics({**seen, **metrics}, step))

    def log_hyperparams(self, params: Any) -> None:
        self._attempt(lambda: super(WandbRun, self).log_hyperparams(params))

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self._attempt(lambda: super(WandbRun, self).log_image(key, images, step, **kwargs))

    def finalize(self, status: str) -> None:
        self._attempt(lambda: super(WandbRun, self).finalize(status))

    @rank_zero_only
    def pictures(self, pictures: Mapping[str, Image.Image], step: int, images_seen: int) -> None:
        self._show(lambda wandb: {name: wandb.Image(picture) for name, picture in pictures.items()}, step, images_seen)

    @rank_zero_only
    def histograms(self, histograms: Mapping[str, Tensor], step: int, images_seen: int) -> None:
        counted = {name: np.histogram(values.numpy(), bins=BINS) for name, values in histograms.items()}
        self._show(lambda wandb: {n: wandb.Histogram(np_histogram=c) for n, c in counted.items()}, step, images_seen)

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        self._attempt(lambda: self.experiment.alert(title=title, text=text, level="WARN"))

    @rank_zero_only
    def checkpoints(self, paths: Iterable[Path]) -> None:
        if self._sends_checkpoints:
            self._attempt(lambda: self._send(paths))

    def _send(self, paths: Iterable[Path]) -> None:
        """Each file is a version of the run's artifact, called after it."""
        import wandb

        for path in paths:
            artifact = wandb.Artifact(f"model-{self.version}", type="model")
            # From where it lies: a copy for W&B would be as large again.
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
            self.experiment.log_artifact(artifact, aliases=[path.stem])

    def _show(self, media: Callable[[Any], dict[str, Any]], step: int, images_seen: int) -> None:
        """One row. W&B's own counter of rows is left alone: a row with a number behind it would be dropped."""

        def log() -> None:
            import wandb

            self.experiment.log({**media(wandb), BATCHES: step, IMAGES: images_seen})

        self._attempt(log)

    def _attempt(self, call: Callable[[], Any], always: bool = False) -> None:
        """Call it unless W&B has failed before; say so when it fails for the first time."""
        if self._failed and not always:
            return
        try:
            call()
        except Exception as error:  # whatever it is, it is not worth a training
            if not self._failed:
                print(f"W&B failed ({type(error).__name__}: {error}); the run goes on without it", file=sys.stderr)
            self._failed = True
