"""When images can share one pass of a network."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

MERGED_PIXELS = 256**2
"""With fewer pixels in a batch, a generator translates one domain and has its identity term of the other in one pass.

On two cores at 128 px one pass took 0.65 to 0.7 times as long as two (`networks.winograd`), and at 256 px 0.97 times,
which is not worth the memory of a third pass's features.
"""


def is_batch_independent(network: nn.Module) -> bool:
    """Whether images can share one pass: nothing in it depends on the other images or on earlier passes.

    Batch norm has the statistics of all images of a pass; running statistics and the estimate of spectral norm move
    with every pass; dropout draws other noise for an image that is not alone.
    """
    return not any(
        isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm | nn.Dropout | nn.Dropout2d)
        or (isinstance(module, nn.InstanceNorm2d) and module.track_running_stats)
        or is_parametrized(module)
        for module in network.modules()
    )


def merges_passes(generator: nn.Module, real: Tensor, other: Tensor) -> bool:
    """Whether images of both domains are to go through a generator at once: to no other effect, and in less time."""
    pixels = len(real) * real.shape[2:].numel()
    return real.shape[1:] == other.shape[1:] and pixels < MERGED_PIXELS and is_batch_independent(generator)
