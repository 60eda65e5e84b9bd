"""A DDP strategy that knows that a GAN is several networks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from patchlight.methods import TranslationMethod
from patchlight.methods.networks import is_trained
from patchlight.parallel.launcher import JobLauncher
from patchlight.system.warnings import filter_warnings

StartMethod = Literal["popen", "spawn", "fork"]


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
    def share_buffers(self) -> None:
        """Give all ranks the running statistics of rank 0, which each has followed for its own images."""
        method = self.lightning_module
        assert isinstance(method, TranslationMethod)
        for network in method.modules_of().values():
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)

    def on_validation_start(self) -> None:
        if self._wrapped:
            self.share_buffers()

    def teardown(self) -> None:
        if isinstance(self.lightning_module, TranslationMethod):
            self.lightning_module.reset_gradient_sync()
        self._wrapped = {}
        super().teardown()
