"""Networks on devices: memory layout, compilation, one DistributedDataParallel for each, and the ranks' processes."""

from patchlight.parallel.launcher import JobLauncher, ranks_of_this_job
from patchlight.parallel.networks import DDP_STARTS, Performance, PerNetworkDDP, require_supported

__all__ = ["DDP_STARTS", "JobLauncher", "PerNetworkDDP", "Performance", "ranks_of_this_job", "require_supported"]
