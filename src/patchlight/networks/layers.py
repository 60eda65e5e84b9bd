"""The normalisation layers a network can be built with, and what they mean for the convolution before them."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from patchlight.networks.instance_norm import InstanceNorm2d
from patchlight.networks.sync_batch_norm import SyncBatchNorm

Norm = Literal["batch", "instance", "none", "sync_batch"]

NEGATIVE_SLOPE = 0.2
"""Slope of the LeakyReLU in encoders and discriminators (Isola et al. 2017, appendix 6.1)."""


def norm_layers(norm: Norm, channels: int) -> list[nn.Module]:
    """The layers that normalise `channels` feature maps: one, or none at all for `none`.

    Instance norm has neither affine parameters nor running statistics (Ulyanov et al. 2016). `sync_batch` shares the
    statistics of a batch between ranks and is `batch` in a single process.

    Raises:
        ValueError: `norm` is not one of the four names.
    """
    match norm:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "sync_batch":
            return [SyncBatchNorm(channels)]
        case "instance":
            return [InstanceNorm2d(channels)]
        case "none":
            return []
    raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, got {norm!r}")


def bias_before(norm: Norm) -> bool:
    """Whether the convolution before the norm has a bias: only before `instance`, as in the reference networks.

    Batch norm has an affine bias of its own; networks without norm have none there either, so that weights of all
    four variants trade with the reference code.
    """
    return norm == "instance"


def normalise_spectrum(network: nn.Module) -> None:
    """Divide the weight of every convolution of a network by its largest singular value, in place.

    The value is estimated anew, so that it is right for the present weights.

    Source: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", equation 8.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)


def require_at_least(name: str, value: int, minimum: int) -> None:
    """Raise a ValueError that names the argument if it is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
