"""From a checkpoint alone to networks that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from torch import Tensor, nn

from patchlight.build import build_method, build_network, data_contents, locate_method
from patchlight.checkpoint import RECORD_KEY, Weights, read_checkpoint, recorded_config
from patchlight.checkpoint import weights as weights_of
from patchlight.config.attribution import recorded_in
from patchlight.config.validation import check_group, check_value, checker
from patchlight.data.labels import LabelMaps
from patchlight.errors import ConfigError, DataError
from patchlight.example import model_path
from patchlight.inference.model_folder import read_model_folder
from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.tiles import AUTO, Tile, check_tile
from patchlight.inference.translator import Direction, Translator
from patchlight.methods import NetworkSpec, TranslationMethod
from patchlight.methods.inference import InferenceMode, condition_values
from patchlight.methods.networks import GeneratorCall
from patchlight.networks import Discriminator, Generator
from patchlight.system.devices import Precision, choose_device, uses_bf16

__all__ = ["TrainedModel", "Weights", "load"]

N = TypeVar("N", bound=nn.Module)

Size = Annotated[int, Field(ge=1)]
IMAGES: Mapping[str, Any] = {
    "direction": Direction, "channels_a": Size, "channels_b": Size, "image_size": Size | tuple[Size, Size],
}  # fmt: skip
"""What is needed to know of the images of a training, and its types."""

Pair = tuple[float, float]
Band = Annotated[int, Field(ge=1)]
CONTENTS: Mapping[str, Any] = {
    "n_classes": int, "instances": bool, "colorization": bool,
    **{
        f"{name}_{domain}": hint
        for domain in "ab"
        for name, hint in (
            ("depth", str), ("range", Pair | list[Pair]), ("bands", list[Band]), ("display", list[Band]),
        )
    },
}  # fmt: skip
"""The same of what images hold that are no colours of 8 bits, where it has them."""


def load(
    path: str | Path,
    *,
    weights: Weights = "ema",
    direction: Direction | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "32-true",
    inference_mode: InferenceMode | None = None,
    tile: Tile = AUTO,
    trust: bool = False,
) -> Translator:
    """The generator of a checkpoint, ready to translate images; nothing else than the checkpoint is needed.

    `path` may also be a folder that `patchlight-export format=hub` wrote, or `example`: the small model that comes with
    the package, which paints house fronts from label maps. `weights` are the moving average, where the
    run kept one, or `raw`, as trained. `direction` is about the domains as they lie on the disk, and None that of the
    training; only a method with a generator for each can go both ways. `device` None is the first accelerator, else the
    CPU. `precision` `auto` is bfloat16 where the device has matrix units for it. `inference_mode` None is that of the
    training, which its final test used. `tile` is the side in pixels of the tiles of larger images; `auto` chooses
    them, None translates every image in one piece. What the generator reads beside an image is given with it,
    `load(path)(image, class_id=3)`. `trust` runs what is not this package's own, where the checkpoint names it: a
    network of a module of yours, for example.

    Raises:
        DataError: the file is not there, damaged, no checkpoint of this project, or it names code that is not trusted.
        ConfigError: the checkpoint has no generator for this direction, or the machine no such device.
    """
    return TrainedModel(path, trust=trust).translator(
        weights=weights, direction=direction, device=device, precision=precision, inference_mode=inference_mode,
        tile=tile,
    )  # fmt: skip


class TrainedModel:
    """What a checkpoint or a folder of `format=hub` holds, and the networks in it made ready for use.

    Its configuration is data: without `trust` it may name nothing but this package's own classes and those on the list
    of `patchlight.trust`.

    Raises:
        DataError: the file is not there, damaged, no checkpoint of this project, or it names code that is not trusted.
    """

    def __init__(self, path: str | Path, *, trust: bool = False) -> None:
        self.path = path = model_path(path)
        self.checkpoint = read_model_folder(path) if path.is_dir() else read_checkpoint(path, mapped=True)
        recorded = recorded_config(self.checkpoint, path, trust=trust)
        with recorded_in(path):
            for section in ("model", "data"):
                check_value(section, recorded.get(section), checker(dict[str, Any]))
            check_group("model", recorded["model"])
            for key, hint in IMAGES.items():
                check_value(f"data.{key}", recorded["data"].get(key), checker(hint))
            for key, hint in CONTENTS.items():  # which earlier versions did not have
                check_value(f"data.{key}", recorded["data"].get(key), checker(hint | None))
            self.method = locate_method(recorded["model"])
            self.specs: Mapping[str, NetworkSpec] = self.method.networks
        self.config: DictConfig = OmegaConf.create(recorded)
        with recorded_in(path):
            self.contents = data_contents(self.config.data)
        self.channels = {domain: content.channels for domain, content in self.contents.items()}
        self.trained_direction: Direction = self.config.data.direction
        """`data.direction` of the training, between the domains as they lie on the disk."""

    @property
    def labels(self) -> LabelMaps | None:
        """What the label maps hold that domain A has; None of images."""
        content = self.contents["A"]
        return content if isinstance(content, LabelMaps) else None

    @cached_property
    def blueprint(self) -> TranslationMethod:
        """The method that was trained, with all its settings and without its weights.

        Raises:
            DataError: the record describes none that can be built.
        """
        with torch.device("meta"), recorded_in(self.path):
            return build_method(self.config.model, self.channels, for_training=False)

    @property
    def untrained(self) -> frozenset[str]:
        """The networks that an imported checkpoint holds with initial weights, because no file had them."""
        names = self.checkpoint[RECORD_KEY].get("untrained", [])
        return frozenset(name for name in names if isinstance(name, str))

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
            for name, spec in self.specs.items():
                if spec.kind == "generator" and spec.domains == (domain,):
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
        conditions: Mapping[str, Any] | None = None,
    ) -> Translator:
        """The generator of a direction, see `load`; `conditions` are values for all images.

        Raises:
            ConfigError: see `load`; or conditions that are not those of the generator.
        """
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
        spec = self.specs[name]
        assert spec.writes is not None
        call = GeneratorCall(self.method, name, self.network(name, weights, Generator))
        if conditions is not None:
            condition_values(call.conditions, conditions, [0], (1, 1))
        return Translator(
            call,
            reads=self.contents[spec.domains[0]],
            writes=self.contents[spec.writes],
            direction=direction,
            inference_mode=inference_mode or self.blueprint.inference_mode,
            device=place,
            bf16=uses_bf16(precision, place),
            tile=tile,
            conditions=conditions or {},
        )

    def patch_scorer(
        self, *, direction: Direction | None = None, device: str | torch.device | None = None
    ) -> PatchScorer:
        """The discriminator that judged the results of a direction in training.

        Raises:
            ConfigError: the checkpoint has no generator for this direction or no discriminator of its results, or the
                machine no such device.
        """
        direction, generator = self._generator_of(direction)
        read, written = self.specs[generator].domains, self.specs[generator].writes
        assert written is not None
        for name, spec in self.specs.items():
            if spec.kind == "discriminator" and spec.domains in ((written,), (*read, written)):
                if name in self.untrained:
                    raise ConfigError(
                        f"{self.path} was imported without the discriminator of direction={direction}: there is no "
                        f"patch map before it has been trained"
                    )
                side = self.config.data.image_size
                return PatchScorer(
                    self.network(name, "raw", Discriminator),
                    sees_source=len(spec.domains) > 1,
                    boundary=self.blueprint.boundary,
                    image_size=(side, side) if isinstance(side, int) else tuple(side),
                    reads=self.contents[read[0]],
                    judges=self.contents[written],
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

    def network(self, name: str, which: Weights, kind: type[N]) -> N:
        """A network by its name in the method, with its weights, for use and not for training.

        Raises:
            DataError: the checkpoint holds another network than its own record describes.
        """
        prefix = f"{name}."
        state = {
            # Copied, as it lies in the file, which may be replaced.
            key.removeprefix(prefix): value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
            for key, value in weights_of(self.checkpoint, which).items()
            if key.startswith(prefix)
        }
        try:
            with recorded_in(self.path):
                network = self._filled(name, state)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:300]
            raise DataError(f"{self.path} holds another network than its own record describes ({detail})") from None
        assert isinstance(network, kind)
        return network.eval().requires_grad_(False)

    def _filled(self, name: str, state: Mapping[str, Tensor]) -> nn.Module:
        """The network with these weights; where they are all that it holds, it is built without initialising them."""
        with torch.device("meta"):
            network = build_network(self.config.model, name, self.channels)
        _check_kinds(network, state)
        network.load_state_dict(state, assign=True)
        if any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()]):
            network = build_network(self.config.model, name, self.channels)
            network.load_state_dict(state)
        return network


def _check_kinds(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise a RuntimeError, as PyTorch does for shapes, where whole numbers stand for others or the other way round."""
    for key, own in network.state_dict().items():
        if key in state and state[key].is_floating_point() != own.is_floating_point():
            raise RuntimeError(f"{key} is {state[key].dtype} and should be {own.dtype}")
