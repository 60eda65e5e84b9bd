"""Gradient checkpointing: features that are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(network: nn.Module, inputs: Any, compute: Callable[[Any], Tensor] | None = None) -> Tensor:
    """The network's output, whose features are not kept but computed again when their gradients are asked for.

    `inputs` is a tensor, or a collection of tensors that `compute` puts through the network.

    The second time draws the same dropout noise, and leaves the running statistics of batch norm as they are, so that
    training is the same as with features kept.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    compute = compute or network
    if not torch.is_grad_enabled():
        return compute(inputs)
    output = checkpoint(compute, inputs, use_reentrant=False, context_fn=partial(_contexts, network))
    assert isinstance(output, Tensor)
    return output


def _contexts(network: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(network)


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    counters = [norm.num_batches_tracked for norm in norms]
    counts = [counter.clone() if counter is not None else None for counter in counters]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, counter, count in zip(norms, momenta, counters, counts, strict=True):
            norm.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)
