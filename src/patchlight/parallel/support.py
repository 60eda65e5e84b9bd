"""Which ways of training on several devices there are, checked before anything is done."""

from __future__ import annotations

import os
from typing import Any

from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from patchlight.errors import ConfigError
from patchlight.parallel.ddp import StartMethod

DDP_STARTS: dict[str, StartMethod] = {"ddp": "popen", "ddp_spawn": "spawn", "ddp_fork": "fork"}
"""Names of `trainer.strategy` that stand for the strategy with one DDP per network."""

CLUSTERS = (SLURMEnvironment, TorchElasticEnvironment, LSFEnvironment, MPIEnvironment)
"""What starts the ranks of all nodes by itself."""

OWN_NODES = ("MASTER_ADDR", "NODE_RANK")
"""Variables by which one tells each node who it is, where nothing else does."""


def require_supported(strategy: Any, num_nodes: int) -> None:
    """See whether `trainer.strategy` and `trainer.num_nodes` can be had; a strategy may be an object of one's own.

    Raises:
        ConfigError: a strategy of Lightning's that cannot train two sides that step by turns, or several nodes of which
            this command would start one, and wait for the others.
    """
    if isinstance(strategy, str) and strategy not in ("auto", *DDP_STARTS):
        raise ConfigError(
            f"trainer.strategy={strategy} is not supported: there are auto, {', '.join(DDP_STARTS)}, each with one DDP "
            f"for each network. Strategies that shard a module (fsdp, deepspeed, ...) expect one optimizer for all of "
            f"it, which a GAN has not; for memory see perf.gradient_checkpointing and trainer.precision"
        )
    if num_nodes > 1 and not any(name in os.environ for name in OWN_NODES) and not any(c.detect() for c in CLUSTERS):
        raise ConfigError(
            f"trainer.num_nodes={num_nodes}: this command starts the ranks of this machine alone, and would wait for "
            f"the others. Start it on every node: by `torchrun --nnodes={num_nodes} --nproc-per-node=N --rdzv-backend="
            f"c10d --rdzv-endpoint=HOST:PORT -m patchlight train ...`, by srun within a SLURM job "
            f"(scripts/train.sbatch, launcher=slurm), or with MASTER_ADDR, MASTER_PORT and NODE_RANK set on each"
        )
