"""From a checkpoint alone to networks that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar, get_args

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from patchlight.build import build_method, build_network, data_channels
from patchlight.checkpoint import RECORD_KEY, Weights, read_checkpoint
from patchlight.checkpoint import weights as weights_of
from patchlight.errors import ConfigError, DataError
from patchlight.inference.devices import Precision, choose_device, uses_bf16
from patchlight.inference.judge import Judge
from patchlight.inference.tiles import AUTO, Tile, check_tile
from patchlight.inference.translator import Direction, Translator
from patchlight.methods import Role
from patchlight.methods.inference import InferenceMode
from patchlight.networks import Discriminator, Generator
from patchlight.schema import locate

__all__ = ["TrainedModel", "Weights", "load"]

N = TypeVar("N", bound=nn.Module)


def load(
    path: str | Path,
    *,
    weights: Weights = "ema",
    direction: Direction | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "32-true",
    inference_mode: InferenceMode | None = None,
    tile: Tile = AUTO,
) -> Translator:
    """The generator of a checkpoint, ready to translate images; nothing else than the checkpoint is needed.

    `weights` are the moving average, where the run kept one, or `raw`, as they were trained. `direction` is about the
    domains as they lie on the disk, whatever `data.direction` the training had; None is the direction of the
    training. Only a method with a generator for each can go both ways. `device` None is the first accelerator there
    is, else the CPU. `precision` `auto` computes in bfloat16 where the device has matrix units for it.
    `inference_mode` None is that of the training, which its final test used. `tile` is the side in pixels of the tiles
    in which larger images are translated; `auto` chooses them, None translates every image in one piece.

    Raises:
        DataError: the file is not there, damaged, or no checkpoint of this project.
        ConfigError: the checkpoint has no generator for this direction, or the machine no such device.
    """
    return TrainedModel(path).translator(
        weights=weights, direction=direction, device=device, precision=precision, inference_mode=inference_mode,
        tile=tile,
    )  # fmt: skip


class TrainedModel:
    """What a checkpoint holds, and the networks in it made ready for use.

    Raises:
        DataError: the file is not there, damaged, or no checkpoint of this project.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.checkpoint = read_checkpoint(path, mapped=True)
        self.config: DictConfig = OmegaConf.create(self.checkpoint[RECORD_KEY]["config"])
        self.channels = data_channels(self.config.data)
        self.roles: Mapping[str, Role] = locate(self.config.model["_target_"], "model").roles

    @property
    def trained_direction(self) -> Direction:
        """`data.direction` of the training, between the domains as they lie on the disk."""
        direction: Direction = self.config.data.direction
        return direction

    @property
    def untrained(self) -> frozenset[str]:
        """The networks that an imported checkpoint holds with initial weights, because no file had them."""
        return frozenset(self.checkpoint[RECORD_KEY].get("untrained", []))

    @cached_property
    def generators(self) -> dict[Direction, str]:
        """The names of the generators by the direction that each goes, that of the training first.

        Within a batch `A` is the domain that `data.direction` begins with, so the generator that reads `A` goes in the
        direction of the training, and one that reads `B` goes the other way.
        """
        trained = self.trained_direction
        other: Direction = "BtoA" if trained == "AtoB" else "AtoB"
        found: dict[Direction, str] = {}
        for domain, direction in (("A", trained), ("B", other)):
            for name, role in self.roles.items():
                if role.kind == "generator" and role.reads == (domain,):
                    found.setdefault(direction, name)
        return found

    def translator(
        self,
        *,
        weights: Weights = "ema",
        direction: Direction | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "32-true",
        inference_mode: InferenceMode | None = None,
        tile: Tile = AUTO,
    ) -> Translator:
        """The generator of a direction, see `load`."""
        for name, value, allowed in (
            ("weights", weights, get_args(Weights)),
            ("precision", precision, get_args(Precision)),
            ("inference_mode", inference_mode, (None, *get_args(InferenceMode))),
        ):
            if value not in allowed:
                raise ConfigError(f"{name}={value} should be {' or '.join(map(str, allowed))}")
        check_tile(tile)
        direction, name = self._generator_of(direction)
        place = choose_device(str(device) if device is not None else None)
        role = self.roles[name]
        assert role.writes is not None
        return Translator(
            self._network(name, weights, Generator),
            in_channels=sum(self.channels[domain] for domain in role.reads),
            out_channels=self.channels[role.writes],
            direction=direction,
            inference_mode=inference_mode or self.config.model.inference_mode,
            device=place,
            bf16=uses_bf16(precision, place),
            tile=tile,
        )

    def judge(self, *, direction: Direction | None = None, device: str | torch.device | None = None) -> Judge:
        """The discriminator that judged the results of a direction in training.

        Raises:
            ConfigError: the checkpoint has no generator for this direction or no discriminator of its results, or the
                machine no such device.
        """
        direction, generator = self._generator_of(direction)
        read, written = self.roles[generator].reads, self.roles[generator].writes
        for name, role in self.roles.items():
            if role.kind == "discriminator" and role.reads in ((written,), (*read, written)):
                if name in self.untrained:
                    raise ConfigError(
                        f"{self.path} was imported without the discriminator of direction={direction}: there is no "
                        f"patch map before it has been trained"
                    )
                with torch.device("meta"):
                    boundary = build_method(self.config.model, self.channels).boundary
                return Judge(
                    self._network(name, "raw", Discriminator),
                    sees_source=len(role.reads) > 1,
                    boundary=boundary,
                    device=choose_device(str(device) if device is not None else None),
                )
        raise ConfigError(f"{self.path} has no discriminator that judges images of direction={direction}")

    def _generator_of(self, direction: Direction | None) -> tuple[Direction, str]:
        if direction not in (None, *get_args(Direction)):
            raise ConfigError(f"direction={direction} should be {' or '.join(get_args(Direction))}")
        wanted = direction or self.trained_direction
        if wanted not in self.generators:
            raise ConfigError(
                f"direction={wanted} is not what {self.path} was trained for: it translates "
                f"{' and '.join(self.generators)} only"
            )
        if self.generators[wanted] in self.untrained:
            raise ConfigError(
                f"direction={wanted} has a generator with initial weights in {self.path}: it was imported without one; "
                f"choose the other direction or train it first"
            )
        return wanted, self.generators[wanted]

    def _network(self, name: str, which: Weights, kind: type[N]) -> N:
        prefix = f"{name}."
        state = {
            key.removeprefix(prefix): value.clone()  # it lies in the file, which may be replaced
            for key, value in weights_of(self.checkpoint, which).items()
            if key.startswith(prefix)
        }
        try:
            network = self._filled(self.roles[name], state)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:300]
            raise DataError(f"{self.path} holds another network than its own record describes ({detail})") from None
        assert isinstance(network, kind)
        return network.eval().requires_grad_(False)

    def _filled(self, role: Role, state: Mapping[str, Tensor]) -> nn.Module:
        """The network with these weights; where they are all that it holds, it is built without initialising them."""
        with torch.device("meta"):
            network = build_network(self.config.model, role, self.channels)
        network.load_state_dict(state, assign=True)
        if any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()]):
            network = build_network(self.config.model, role, self.channels)
            network.load_state_dict(state)
        return network
