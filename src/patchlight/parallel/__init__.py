"""Training on several devices: one DistributedDataParallel per network, and the processes that it takes."""

from patchlight.parallel.ddp import PerNetworkDDP
from patchlight.parallel.launcher import JobLauncher, ranks_of_this_job

__all__ = ["JobLauncher", "PerNetworkDDP", "ranks_of_this_job"]
