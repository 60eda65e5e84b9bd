"""Initial weights of generators and discriminators."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import PositiveFloat
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

InitType = Literal["normal", "xavier", "kaiming", "orthogonal"]


def init_weights(network: nn.Module, init_type: InitType = "normal", gain: PositiveFloat = 0.02) -> None:
    """Draw the initial weights of a network in place.

    Convolutions and linear layers: `normal` is N(0, gain^2), `xavier` is Xavier's normal scaled by the gain,
    `kaiming` is He's normal over the fan-in and has no gain, `orthogonal` is a scaled orthogonal matrix; biases are 0.
    Batch norm: scale N(1, gain^2), shift 0. Under spectral norm these are the weights before it.

    Raises:
        ValueError: `init_type` is not one of the four names, or the gain is not positive.

    Source: Isola et al. 2017, section 3.3 (normal, 0.02); Glorot and Bengio 2010; He et al. 2015; Saxe et al. 2014.
    """
    if init_type not in get_args(InitType):
        raise ValueError(f"init_type must be one of {', '.join(get_args(InitType))}, got {init_type!r}")
    if gain <= 0:
        raise ValueError(f"gain must be positive, got {gain}")
    for module in list(network.modules()):
        has_spectral_norm = parametrize.is_parametrized(module, "weight")
        if has_spectral_norm:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            match init_type:
                case "normal":
                    nn.init.normal_(module.weight, 0.0, gain)
                case "xavier":
                    nn.init.xavier_normal_(module.weight, gain=gain)
                case "kaiming":
                    nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
                case "orthogonal":
                    nn.init.orthogonal_(module.weight, gain=gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
        if has_spectral_norm:
            spectral_norm(module)  # once more, which estimates the singular values of the new weights
