"""What is done to a method's networks before they are trained: memory layout, compilation, one DDP for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from patchlight.errors import ConfigError
from patchlight.losses import Penalty
from patchlight.methods import TranslationMethod
from patchlight.methods.networks import is_trained
from patchlight.parallel.launcher import JobLauncher
from patchlight.system.devices import device_of, has_bf16_units
from patchlight.system.warnings import filter_warnings

HALF = ("bf16-mixed", "16-mixed")
"""Precisions with convolutions in 16 bits."""

StartMethod = Literal["popen", "spawn", "fork"]

DDP_STARTS: dict[str, StartMethod] = {"ddp": "popen", "ddp_spawn": "spawn", "ddp_fork": "fork"}
"""Names of `trainer.strategy` that stand for the strategy with one DDP per network."""

CLUSTERS = (SLURMEnvironment, TorchElasticEnvironment, LSFEnvironment, MPIEnvironment)
"""What starts the ranks of all nodes by itself."""

OWN_NODES = ("MASTER_ADDR", "NODE_RANK")
"""Variables by which one tells each node who it is, where nothing else does."""


def resolve_precision(trainer: DictConfig) -> None:
    """Replace `trainer.precision=auto`, in place, by what is fastest on the device: bf16-mixed or 32-true."""
    if trainer.precision == "auto":
        trainer.precision = "bf16-mixed" if has_bf16_units(device_of(trainer.accelerator)) else "32-true"


@dataclass(frozen=True)
class Performance:
    """Settings of the `perf` group.

    `channels_last` is the memory layout of the networks' weights and features; `auto` takes it where convolutions are
    computed in 16 bits, whose kernels want it. `compile` compiles each network with TorchInductor, without
    discriminators that have a penalty; the keys of checkpoints stay as they are. `gradient_checkpointing` computes the
    generators' features again in the backward pass instead of keeping them: a fifth more time, for large images.
    """

    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    gradient_checkpointing: bool = False

    def apply(self, method: TranslationMethod, precision: str, accelerator: str) -> list[str]:
        """Prepare a method's networks, in place, before they are trained; returns what there is to say of it.

        A penalty differentiates a gradient of the discriminators, which those of compiled networks do not allow.

        Raises:
            ConfigError: there is no compiler, or a generator that cannot compute its features again.
        """
        networks = method.modules_of()
        if self.gradient_checkpointing:
            for generator in method.generators:
                try:
                    generator.recompute_features()
                except ValueError as error:
                    raise ConfigError(f"perf.gradient_checkpointing: {error}") from None
        if self.channels_last is True or (self.channels_last == "auto" and precision in HALF):
            for network in networks.values():
                network.to(memory_format=torch.channels_last)
        if not self.compile:
            return []
        if device_of(accelerator).type == "cpu":
            _require_compiler()
        penalised = any(isinstance(module, Penalty) for module in method.modules())
        for name, network in networks.items():
            if not (penalised and method.networks[name].kind == "discriminator"):
                network.compile()
        return ["perf.compile: discriminators with a penalty are not compiled, the generators are"] * penalised


def _require_compiler() -> None:
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++"])):
        raise ConfigError(
            f"perf.compile=true needs a C++ compiler on a CPU, and there is no {compiler or 'g++'}: install one "
            f"(Debian: apt install g++), or name another in the variable CXX"
        )


class PerNetworkDDP(DDPStrategy):
    """One DistributedDataParallel for each network of a method's table, in place of one around the whole module.

    With a single one, every backward pass leaves the other side's parameters without a gradient, so all of them must be
    searched for unused ones, each time. With one per network only those are waited for that a backward pass is about,
    and their gradients are averaged while that pass is still going on. The averaged gradient is that of the mean loss
    over the images of all ranks, if these have equally many.

    `start_method` is how the ranks come about where neither torchrun nor SLURM has made them: `popen` runs the command
    again for each, `spawn` and `fork` make processes of this one. With `job_config`, the resolved configuration of a
    run, `popen` starts its ranks from that file, so that no sweep is ever begun twice.
    """

    def __init__(
        self,
        start_method: StartMethod = "popen",
        job_config: str | Path | None = None,
        timeout_minutes: float = 30.0,
        process_group_backend: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            start_method=start_method,
            timeout=timedelta(minutes=timeout_minutes),
            process_group_backend=process_group_backend,
            gradient_as_bucket_view=True,
            **kwargs,
        )
        self.job_config = Path(job_config) if job_config is not None else None
        self._wrapped: dict[int, DistributedDataParallel] = {}

    def _configure_launcher(self) -> None:
        if self._start_method != "popen" or self.job_config is None:
            super()._configure_launcher()
            return
        assert self.cluster_environment is not None
        self._launcher = JobLauncher(self.cluster_environment, self.num_processes, self.num_nodes, self.job_config)

    def setup_environment(self) -> None:
        filter_warnings()  # in processes that are spawned, too
        super().setup_environment()

    def configure_ddp(self) -> None:
        method = self.lightning_module
        if not isinstance(method, TranslationMethod):
            raise TypeError(f"PerNetworkDDP trains a TranslationMethod, got a {type(method).__name__}")
        networks = method.modules_of().values()
        self._wrapped = {id(network): self._setup_model(network) for network in networks if is_trained(network)}
        method.before_backward = self._expect_gradients

    def _expect_gradients(self, networks: Sequence[nn.Module]) -> None:
        """Average the gradients of these networks over the ranks in the backward pass that comes next."""
        for network in networks:
            prepare_for_backward(self._wrapped[id(network)], [])

    @torch.no_grad()
    def on_validation_start(self) -> None:
        # The running statistics of rank 0 for all: each has followed them for its own images.
        if self._wrapped and isinstance(self.lightning_module, TranslationMethod):
            for network in self.lightning_module.modules_of().values():
                for buffer in network.buffers():
                    distributed.broadcast(buffer, src=0)

    def teardown(self) -> None:
        if isinstance(self.lightning_module, TranslationMethod):
            self.lightning_module.reset_gradient_sync()
        self._wrapped = {}
        super().teardown()


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
