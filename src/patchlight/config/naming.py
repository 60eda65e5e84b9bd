"""The name of a run's folder, the same for every process that takes part in it. Imports nothing heavy."""

from __future__ import annotations

import os
import secrets
from datetime import datetime

VARIABLE = "PATCHLIGHT_RUN_ID"
"""Hands the id to processes that are started for the jobs of a sweep, on this machine or on a cluster."""


def choose_run_id() -> str:
    """The id of the command that begins here; ranks that were started side by side choose the same.

    The time and six random digits; under srun with several tasks the numbers of job and step, which stay the same when
    the job is queued again; under torchrun what rank 0 chose.
    """
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        chosen = f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ['SLURM_STEP_ID']}"
    elif os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        chosen = _agree(_new())
    else:
        chosen = _new()
    os.environ[VARIABLE] = chosen
    return chosen


def run_id() -> str:
    """The id of the command that this process belongs to."""
    return os.environ.get(VARIABLE) or _new()


def _new() -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(3)}"


def _agree(own: str) -> str:
    """The proposal that reaches torchrun's store first: a restart of all ranks keeps it."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    chosen: bytes = store.compare_set("patchlight/run_id", "", own)
    return chosen.decode()
