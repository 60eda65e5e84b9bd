"""What a W&B run is called, and what it is found by."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from patchlight.config.compose import job_name
from patchlight.system.job_record import JobRecord

LONGEST_TAG = 64
"""Of W&B's."""


def identity(config: Mapping[str, Any], fields: Sequence[int] = ()) -> dict[str, Any]:
    """The arguments of `WandbRun` that say what a run belongs to, and the question that its sweep asks.

    A job of a sweep is in the sweep's group, named after the values that set it apart; any other run is in its task's.
    `fields` are the receptive fields of the discriminators in pixels.
    """
    task = str(config["task"])
    own = {"notes": config.get("question"), "group": task, "name": None}
    if not HydraConfig.initialized():  # a further rank, which does not write, or a script
        return {**own, "job_type": "train", "tags": _tags([task, *_model_tags(config, fields)])}
    hydra = HydraConfig.get()
    choices = [hydra.runtime.choices.get(group) for group in ("model", "experiment", "sweep")]
    tags = _tags([task, *choices, *_model_tags(config, fields)])
    if hydra.mode != RunMode.MULTIRUN:
        by_agent = "WANDB_SWEEP_ID" in os.environ
        return {**own, "job_type": "sweep" if by_agent else "train", "tags": tags}
    name = job_name(list(hydra.overrides.task), JobRecord.current().swept) or str(hydra.job.num)
    return {**own, "group": f"{task}/{Path(hydra.sweep.dir).name}", "job_type": "sweep", "name": name, "tags": tags}


def _tags(words: Sequence[str | None]) -> list[str]:
    return [str(word)[:LONGEST_TAG] for word in dict.fromkeys(words) if word]


def _model_tags(config: Mapping[str, Any], fields: Sequence[int]) -> Iterator[str]:
    """Data set, method, receptive fields and norms: `facades`, `Pix2Pix`, `70 px`, `batch norm`."""
    data, model = config.get("data") or {}, config.get("model") or {}
    yield PurePath(str(data["root"])).name if data.get("root") else _class(data.get("source") or data)
    yield _class(model)
    yield from (f"{field} px" for field in fields)
    norms = [(model.get(name) or {}).get("norm") for name in ("generator", "discriminator")]
    yield from (f"{norm} norm" for norm in norms if isinstance(norm, str))


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_") or "").rpartition(".")[2]
