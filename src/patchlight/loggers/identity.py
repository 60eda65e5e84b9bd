"""What a run is called where runs are compared: its group, type, name and tags, from Hydra."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from patchlight.config.plan import job_name
from patchlight.system.job_record import JobRecord

LONGEST_TAG = 64
"""Of W&B's."""


def identity(task: str) -> dict[str, Any]:
    """The arguments of `WandbRun` that say what a run belongs to.

    A job of a sweep is in the sweep's group, named after the values that set it apart; any other run is in its task's.
    """
    if not HydraConfig.initialized():  # a further rank, which does not write, or a script
        return {"group": task, "job_type": "train", "name": None, "tags": [task]}
    hydra = HydraConfig.get()
    choices = OmegaConf.to_container(hydra.runtime.choices)
    assert isinstance(choices, dict)
    words = dict.fromkeys([task, *(choices.get(group) for group in ("model", "experiment", "sweep"))])
    tags = [str(word)[:LONGEST_TAG] for word in words if word]
    if hydra.mode != RunMode.MULTIRUN:
        by_agent = "WANDB_SWEEP_ID" in os.environ
        return {"group": task, "job_type": "sweep" if by_agent else "train", "name": None, "tags": tags}
    name = job_name(list(hydra.overrides.task), JobRecord.current().swept) or str(hydra.job.num)
    return {"group": f"{task}/{Path(hydra.sweep.dir).name}", "job_type": "sweep", "name": name, "tags": tags}
