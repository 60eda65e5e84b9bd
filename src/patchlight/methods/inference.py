"""The two ways in which a trained generator is used."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from patchlight.networks import SyncBatchNorm

InferenceMode = Literal["eval", "paper"]


@contextmanager
def inference(*networks: nn.Module, mode: InferenceMode, noise_seed: int = 0) -> Iterator[None]:
    """Use networks for translating or judging, without gradients, and leave them as they were.

    `eval` is PyTorch's evaluation mode: running statistics, no dropout. `paper` keeps dropout and the statistics of
    the batch itself, on this rank alone, as pix2pix is tested in its paper; the running statistics are not touched and
    the dropout noise is that of `noise_seed`, so the same images come out each time and training goes on as if nothing
    had happened. In both modes other random numbers, such as noise that a network draws by itself, are of that seed.

    Source: Isola et al. 2017, section 3.3, "Inference details".
    """
    modules = [module for network in networks for module in network.modules()]
    were_training = [module.training for module in modules]
    tracking = [
        module
        for module in modules
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and module.track_running_stats
    ]
    shared = [norm for norm in tracking if isinstance(norm, SyncBatchNorm)]
    devices = {torch.device("cpu"), *(p.device for n in networks for p in n.parameters())}
    try:
        for network in networks:
            network.train(mode == "paper")
        for module in modules:
            if is_parametrized(module):
                module.get_submodule("parametrizations").eval()  # a spectral norm's estimate is not moved
        for norm in tracking:
            norm.track_running_stats = mode == "eval"
        for norm in shared:
            norm.alone = True
        with torch.no_grad(), _noise(devices, noise_seed):
            yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
        for norm in shared:
            norm.alone = False
        for module, was_training in zip(modules, were_training, strict=True):
            module.training = was_training


@contextmanager
def _noise(devices: Collection[torch.device], seed: int) -> Iterator[None]:
    """Within this context the random numbers of these devices are those of `seed`; afterwards they go on as before.

    `torch.manual_seed` would seed all devices, those as well whose state nobody has kept.
    """
    states = {device: _random_state(device) for device in devices}
    try:
        for device in devices:
            _set_random_state(device, torch.Generator(device).manual_seed(seed).get_state())
        yield
    finally:
        for device, state in states.items():
            _set_random_state(device, state)


def _random_state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)  # type: ignore[no-any-return]


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)
