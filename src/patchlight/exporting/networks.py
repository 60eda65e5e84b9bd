"""All networks of a checkpoint, rebuilt with their weights."""

from __future__ import annotations

import torch
from torch import nn

from patchlight.checkpoint import Weights
from patchlight.inference.loading import TrainedModel


def networks_of(model: TrainedModel, which: Weights) -> dict[str, nn.Module]:
    """The networks by their names in the method, in evaluation mode; of generators the averages if `which` says so.

    Raises:
        DataError: the checkpoint holds other networks than its own record describes.
    """
    with torch.random.fork_rng(devices=[]):
        return {name: model.network(name, which, nn.Module) for name in model.specs}
