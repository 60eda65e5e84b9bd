"""Reading golden files and re-creating the networks, weights and inputs behind them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchlight.interop import load_reference_weights
from patchlight.networks import (
    GlobalGenerator,
    LocalEnhancer,
    MultiscaleDiscriminator,
    PatchDiscriminator,
    PixelDiscriminator,
    ResNetGenerator,
    UNetGenerator,
)
from patchlight.networks.layers import Antialias


@dataclass(frozen=True)
class Golden:
    """One golden file: what the reference implementation computed, and how to set the case up again."""

    name: str
    meta: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    formula: ModuleType

    def __getitem__(self, key: str) -> NDArray[Any]:
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    @property
    def options(self) -> dict[str, Any]:
        """The reference's options; its command lines are read as `--name value` pairs and flags."""
        options = self.meta["options"]
        if isinstance(options, dict):
            return options
        parsed: dict[str, Any] = {}
        for i, word in enumerate(options):
            if word.startswith("--"):
                is_flag = i + 1 == len(options) or options[i + 1].startswith("--")
                parsed[word[2:]] = True if is_flag else options[i + 1]
        return parsed

    def noise(self, shape: Sequence[int], j: int) -> Tensor:
        return torch.from_numpy(self.formula.noise(tuple(shape), j))

    def image(self, shape: Sequence[int], j: int) -> Tensor:
        return torch.from_numpy(self.formula.image(tuple(shape), j))

    def weights(self, keys: Sequence[Sequence[Any]], base: int = 0) -> dict[str, Tensor]:
        """The formula's weights for the reference's keys, each a (name, shape, dtype)."""
        state: dict[str, Tensor] = {}
        index = base
        for name, shape, dtype in keys:
            if name.endswith("filt"):  # a constant
                state[name] = torch.from_numpy(self.formula.filt(shape).copy())
            elif dtype.startswith("float"):
                state[name] = torch.from_numpy(self.formula.weight(name, shape, index))
                index += 1
            else:
                state[name] = torch.zeros(shape, dtype=torch.int64)
        return state

    def network(self) -> nn.Module:
        """The network of the case, with the formula's weights loaded from the reference's layout."""
        network = build(self.meta["ctor"])
        load_reference_weights(network, self.weights(self.meta["keys"]))
        return network


def files(family: str, shared: Path) -> list[Path]:
    """All golden files of a family."""
    found = sorted((shared / "golden").glob(f"{family}__*.npz"))
    assert found, f"no golden files of the family {family}"
    return found


def load(path: Path) -> Golden:
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files if key != "meta"}
        meta = json.loads(str(archive["meta"]))
    return Golden(path.stem, meta, arrays, _formula(path.parent))


def _formula(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_formula", folder / "formula.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(ctor: dict[str, Any]) -> nn.Module:
    """Our network for the reference's class and arguments."""
    match ctor["cls"]:
        case "NLayerDiscriminator":
            return PatchDiscriminator(
                ctor["input_nc"], ndf=ctor["ndf"], n_layers=ctor["n_layers"], norm=ctor["norm"],
                antialias=not ctor.get("no_antialias", True),
            )  # fmt: skip
        case "PixelDiscriminator":
            return PixelDiscriminator(ctor["input_nc"], ndf=ctor["ndf"], norm=ctor["norm"])
        case "UnetGenerator":
            return UNetGenerator(
                ctor["input_nc"], ctor["output_nc"], num_downs=ctor["num_downs"], ngf=ctor["ngf"],
                norm=ctor["norm"], dropout=ctor["use_dropout"],
            )  # fmt: skip
        case "ResnetGenerator":
            return ResNetGenerator(
                ctor["input_nc"], ctor["output_nc"], n_blocks=ctor["n_blocks"], ngf=ctor["ngf"],
                norm=ctor["norm"], dropout=ctor.get("use_dropout", False), padding=ctor.get("padding_type", "reflect"),
                antialias=antialias(ctor),
            )  # fmt: skip
        case "MultiscaleDiscriminator":
            return MultiscaleDiscriminator(
                ctor["input_nc"], ndf=ctor["ndf"], n_layers=ctor["n_layers"], num_scales=ctor["num_D"],
                norm=ctor["norm"],
            )  # fmt: skip
        case "GlobalGenerator":
            return GlobalGenerator(
                ctor["input_nc"], ctor["output_nc"], ngf=ctor["ngf"], n_downsampling=ctor["n_downsampling"],
                n_blocks=ctor["n_blocks"], norm=ctor["norm"],
            )  # fmt: skip
        case "LocalEnhancer":
            return LocalEnhancer(
                ctor["input_nc"], ctor["output_nc"], ngf=ctor["ngf"], n_downsampling=ctor["n_downsample_global"],
                n_blocks=ctor["n_blocks_global"], n_local_enhancers=ctor["n_local_enhancers"],
                n_blocks_local=ctor["n_blocks_local"], norm=ctor["norm"],
            )  # fmt: skip
    raise AssertionError(ctor)


def antialias(ctor: dict[str, Any]) -> Antialias:
    """Which changes of resolution are filtered, by the two flags of CUT's generator, which other codes do not have."""
    down, up = not ctor.get("no_antialias", True), not ctor.get("no_antialias_up", True)
    return "both" if down and up else "down" if down else "up" if up else "none"
