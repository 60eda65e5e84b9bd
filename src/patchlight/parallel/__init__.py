"""Training on several devices: one DistributedDataParallel per network, and the processes that it takes."""

from patchlight.parallel.ddp import DDP_STARTS, PerNetworkDDP, require_supported
from patchlight.parallel.launcher import JobLauncher, ranks_of_this_job
from patchlight.parallel.performance import Performance

__all__ = ["DDP_STARTS", "JobLauncher", "PerNetworkDDP", "Performance", "ranks_of_this_job", "require_supported"]
