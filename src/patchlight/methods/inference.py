"""The use of trained generators: their two modes, and the inputs that they have beside an image."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from patchlight.errors import ConfigError
from patchlight.networks import Condition, SyncBatchNorm

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


def image_seed(path: str | Path) -> int:
    """The seed of an image's noise, from the name of its file: the same in every batch, rank, folder and command."""
    return zlib.crc32(Path(path).stem.encode(errors="surrogateescape"))


def draw_noise(condition: Condition, seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Standard normal values for images of a size, each from its own seed, whatever the others in the batch are."""
    shape = _shape(condition, size)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def noise_for(images: Tensor, condition: Condition, seeds: Sequence[int] | None) -> Tensor:
    """Noise for a batch, of its type and on its device; without seeds from the device's own random numbers."""
    height, width = images.shape[-2:]
    if seeds is not None:
        return draw_noise(condition, seeds, (height, width)).to(images)
    shape = (len(images), *_shape(condition, (height, width)))
    return torch.randn(shape, dtype=images.dtype, device=images.device)


def condition_values(
    conditions: Mapping[str, Condition], given: Mapping[str, Any], seeds: Sequence[int], size: tuple[int, int]
) -> dict[str, Tensor]:
    """The values of a generator's conditions for a batch, as it takes them; one that is given alone is for all images.

    `seeds` has one number for each image, from which noise is drawn that is not given.

    Raises:
        ConfigError: a value that is missing, unknown, or not of the condition's shape and type.
    """
    for name in given.keys() - conditions.keys():
        known = f"its conditions are {', '.join(conditions)}" if conditions else "it has no condition"
        raise ConfigError(f"condition.{name} is nothing that this generator reads: {known}")
    values = {}
    for name, condition in conditions.items():
        if given.get(name) is not None:
            values[name] = _value(name, condition, given[name], len(seeds), size)
        elif condition.noise:
            values[name] = draw_noise(condition, seeds, size)
        else:
            raise ConfigError(f"condition.{name} is not set, which this generator reads: give it, {condition}")
    return values


def _value(name: str, condition: Condition, given: Any, images: int, size: tuple[int, int]) -> Tensor:
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"condition.{name}={given!r} should be {condition}") from None
    shape = _shape(condition, size)
    whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    if condition.classes is not None:
        fits = whole and bool(((value >= 0) & (value < condition.classes)).all())
        value = value.long()
    else:
        fits = (whole or value.is_floating_point()) and bool(value.isfinite().all())
        value = value.float()
    if not fits or tuple(value.shape) not in (shape, (images, *shape)):
        raise ConfigError(f"condition.{name}={given!r} should be {condition}")
    return value if tuple(value.shape) == (images, *shape) else value.expand(images, *shape)


def _shape(condition: Condition, size: tuple[int, int]) -> tuple[int, ...]:
    return (*condition.shape, *size) if condition.spatial else condition.shape
