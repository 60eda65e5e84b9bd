"""From a checkpoint alone to a generator that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from patchlight.build import build_network, data_channels
from patchlight.checkpoint import RECORD_KEY, Weights, read_checkpoint
from patchlight.checkpoint import weights as weights_of
from patchlight.errors import ConfigError, DataError
from patchlight.inference.devices import Precision, choose_device, uses_bf16
from patchlight.inference.translator import Direction, Translator
from patchlight.methods import Role
from patchlight.methods.inference import InferenceMode
from patchlight.networks import Generator
from patchlight.schema import locate

__all__ = ["Weights", "load"]


def load(
    path: str | Path,
    *,
    weights: Weights = "ema",
    direction: Direction | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "32-true",
    inference_mode: InferenceMode | None = None,
) -> Translator:
    """The generator of a checkpoint, ready to translate images; nothing else than the checkpoint is needed.

    `weights` are the moving average, where the run kept one, or `raw`, as they were trained. `direction` is about the
    domains as they lie on the disk, whatever `data.direction` the training had; None is the direction of the
    training. Only a method with a generator for each can go both ways. `device` None is the first accelerator there
    is, else the CPU. `precision` `auto` computes in bfloat16 where the device has matrix units for it.
    `inference_mode` None is that of the training, which its final test used.

    Raises:
        DataError: the file is not there, damaged, or no checkpoint of this project.
        ConfigError: the checkpoint has no generator for this direction, or the machine no such device.
    """
    for name, value, allowed in (
        ("weights", weights, get_args(Weights)),
        ("direction", direction, (None, *get_args(Direction))),
        ("precision", precision, get_args(Precision)),
        ("inference_mode", inference_mode, (None, *get_args(InferenceMode))),
    ):
        if value not in allowed:
            raise ConfigError(f"{name}={value} should be {' or '.join(map(str, allowed))}")
    place = choose_device(str(device) if device is not None else None)
    checkpoint = read_checkpoint(path)
    config = OmegaConf.create(checkpoint[RECORD_KEY]["config"])
    name, role, direction = _find(config, direction, path)
    channels = data_channels(config.data)
    assert role.writes is not None
    return Translator(
        _restore(config.model, name, role, channels, checkpoint, weights, path),
        in_channels=sum(channels[domain] for domain in role.reads),
        out_channels=channels[role.writes],
        direction=direction,
        inference_mode=inference_mode or config.model.inference_mode,
        device=place,
        bf16=uses_bf16(precision, place),
    )


def _find(config: DictConfig, direction: Direction | None, path: str | Path) -> tuple[str, Role, Direction]:
    """Name and role of the generator for a direction between the files' domains, and that direction.

    Within a batch `A` is the domain that `data.direction` begins with, so the generator that reads `A` goes in the
    direction of the training, and one that reads `B` goes the other way.
    """
    trained: Direction = config.data.direction
    other: Direction = "BtoA" if trained == "AtoB" else "AtoB"
    roles: Mapping[str, Role] = locate(config.model["_target_"], "model").roles
    found: dict[Direction, tuple[str, Role]] = {}
    for name, role in roles.items():
        if role.kind == "generator" and role.reads in (("A",), ("B",)):
            found.setdefault(trained if role.reads == ("A",) else other, (name, role))
    wanted = direction or trained
    if wanted not in found:
        raise ConfigError(
            f"direction={wanted} is not what {path} was trained for: it translates {' and '.join(found)} only"
        )
    return *found[wanted], wanted


def _restore(
    model: DictConfig,
    name: str,
    role: Role,
    channels: Mapping[str, int],
    checkpoint: Mapping[str, Any],
    which: Weights,
    path: str | Path,
) -> Generator:
    prefix = f"{name}."
    state = {
        key.removeprefix(prefix): value
        for key, value in weights_of(checkpoint, which).items()
        if key.startswith(prefix)
    }
    try:
        generator = _filled(model, role, channels, state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise DataError(f"{path} holds another network than its own record describes ({detail})") from None
    return generator.eval().requires_grad_(False)


def _filled(model: DictConfig, role: Role, channels: Mapping[str, int], state: Mapping[str, Tensor]) -> Generator:
    """The generator with these weights; where they are all that it holds, it is built without initialising them."""
    with torch.device("meta"):
        generator = build_network(model, role, channels)
    generator.load_state_dict(state, assign=True)
    if any(tensor.is_meta for tensor in [*generator.parameters(), *generator.buffers()]):
        generator = build_network(model, role, channels)
        generator.load_state_dict(state)
    assert isinstance(generator, Generator)
    return generator
