"""All networks of a checkpoint, rebuilt with their weights."""

from __future__ import annotations

import torch
from torch import nn

from patchlight.build import build_network
from patchlight.checkpoint import Weights, weights
from patchlight.errors import DataError
from patchlight.inference.loading import TrainedModel


def networks_of(model: TrainedModel, which: Weights) -> dict[str, nn.Module]:
    """The networks by their names in the method, in evaluation mode; of generators the averages if `which` says so.

    Raises:
        DataError: the checkpoint holds other networks than its own record describes.
    """
    state = weights(model.checkpoint, which)
    networks: dict[str, nn.Module] = {}
    for name, role in model.roles.items():
        prefix = f"{name}."
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        with torch.random.fork_rng(devices=[]):
            network = build_network(model.config.model, role, model.channels)
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:300]
            raise DataError(f"{model.path} holds another network than its own record describes ({detail})") from None
        networks[name] = network.eval().requires_grad_(False)
    return networks
