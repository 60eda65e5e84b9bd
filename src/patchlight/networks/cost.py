"""What a network costs: its parameters, and the floating-point operations of a forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from patchlight.networks.maps import copy_with


def count_parameters(network: nn.Module) -> int:
    """How many numbers a network learns or keeps frozen; buffers are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def forward_flops(network: nn.Module, forward: Callable[[nn.Module], object]) -> int | None:
    """The floating-point operations of `forward(network)`, a multiplication and its addition counted as two.

    Convolutions, matrix products and attention count, as in `torch.utils.flop_counter`; norms and activations do not.
    `forward` is called with a copy that has no data, and makes its inputs on the device "meta": nothing is computed
    and no random number is drawn. None of a network that cannot be run without data.
    """
    try:
        empty = copy_with(network, lambda tensor: torch.empty_like(tensor, device="meta"))
        with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            with FlopCounterMode(display=False) as counter:
                forward(empty)
            return int(counter.get_total_flops())
    except Exception:  # the network of anybody, in which values may decide what is done
        return None
