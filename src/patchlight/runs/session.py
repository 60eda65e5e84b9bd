"""Trainings from scripts and notebooks: the configuration of a command line, and a run in this process."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig, OmegaConf

from patchlight.build import build_data, build_method, data_channels
from patchlight.checkpoint import BEST, LAST, RECORD_KEY, Weights, read_checkpoint, weights
from patchlight.config.command_line import FREE_MAPPINGS, swept_keys, with_free_keys
from patchlight.config.compose import compose_config
from patchlight.config.validation import validate
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod
from patchlight.runs import run
from patchlight.runs.evaluation import Figures
from patchlight.system.job_record import command_of_script


@dataclass(frozen=True)
class TrainingResult:
    """What a training has left."""

    folder: Path
    """The run's folder, with checkpoints, samples and tables."""

    figures: dict[str, Figures]
    """The test's figures by weights, `last`, `best` and `untrained`: as `figures["best"]["l1"]`; empty without test."""

    protocol: dict[str, Any]
    """What the figures rest on, as in `metrics.json`."""

    objective: float | None
    """The figure that `objective` names."""

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, or the last where none was chosen; `patchlight.load` takes it."""
        best = self.folder / "checkpoints" / BEST
        return best if best.is_file() else best.with_name(LAST)

    def method(self, checkpoint: Path | None = None, which: Weights = "ema") -> TranslationMethod:
        """The method with all of its trained networks, on the CPU: discriminators, too, which `load` leaves out.

        They are those of `checkpoint`, or of the one above; `which` chooses moving averages, where there are some.
        """
        found = read_checkpoint(checkpoint or self.checkpoint)
        config: DictConfig = OmegaConf.create(found[RECORD_KEY]["config"])
        method = build_method(config.model, data_channels(config.data), for_training=False)
        method.load_state_dict(weights(found, which))
        return method

    def data(self) -> LightningDataModule:
        """The run's data, prepared for all splits: `data().test_dataloader()` gives batches as training has them."""
        config: DictConfig = OmegaConf.create(read_checkpoint(self.checkpoint)[RECORD_KEY]["config"])
        module = build_data(config.data, self.method()).module
        for stage in ("fit", "test"):
            module.setup(stage)
        return module


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> DictConfig:
    """The configuration that `patchlight-train` makes of the same words, checked, with a new folder as `paths.run_dir`.

    `overrides` are `key=value` and `group=choice`, and `config_dir` is a folder of YAML files and modules of one's own,
    as `--config-dir` is. Values may be changed before `train` is given it. Keys that follow from others still do.

    Raises:
        ConfigError: an unknown key or choice, a wrong value, or several values for one key, which make a sweep.
    """
    with command_of_script(config_dir):
        return _compose(overrides, config_dir)


def train(config: Sequence[str] | DictConfig = (), *, config_dir: str | Path | None = None) -> TrainingResult:
    """Run a training in this process, as `patchlight-train` does, from overrides or a configuration of `compose`.

    It prints what the command prints; `callbacks.progress=null` leaves out the bar and the lines of validations. The
    random numbers of Python, NumPy and PyTorch are seeded. What is logged meanwhile is in `train.log` of the run's
    folder as well, at the levels that the script has set. With several devices the other ranks are processes of their
    own; a notebook takes `trainer=ddp_spawn`. The configuration that is given stays as it is.

    Raises:
        UserError: something is the user's to put right, as ConfigError, DataError or TrainingError.
    """
    with command_of_script(config_dir), warnings.catch_warnings():
        cfg = copy.deepcopy(config) if isinstance(config, DictConfig) else _compose(config, config_dir)
        value = run.train(cfg)
    folder = Path(cfg.paths.run_dir)
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    protocol = found.pop("protocol")
    return TrainingResult(folder, found, protocol, value)


def _compose(overrides: Sequence[str], config_dir: str | Path | None) -> DictConfig:
    if isinstance(overrides, str):
        raise ConfigError(f"overrides={overrides!r} should be a list of words, such as ['experiment=demo', 'seed=1']")
    words = with_free_keys(overrides, FREE_MAPPINGS)
    for key in swept_keys(words):
        raise ConfigError(f"{key} has several values, which make a sweep: train in turn, or run patchlight-train -m")
    searched = []
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(
                f"config_dir={config_dir} is not a folder: give one with experiment/NAME.yaml and the like"
            )
        searched = [f"hydra.searchpath=['file://{Path(config_dir).resolve()}']"]
    composed = compose_config("train", [*searched, *words], with_hydra=True)
    if OmegaConf.is_interpolation(composed.paths, "run_dir"):
        composed.paths.run_dir = composed.hydra.run.dir
    cfg = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    assert isinstance(cfg, DictConfig)
    validate(cfg)
    return cfg
