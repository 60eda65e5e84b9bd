"""A checkpoint made of the reference code's files."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from patchlight.build import build_method, data_channels
from patchlight.checkpoint import RECORD_KEY, SHOWN, is_whole, make_record
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError, DataError
from patchlight.interop import load_reference_weights
from patchlight.interop.architecture import Architecture, infer
from patchlight.interop.reference import NETWORKS
from patchlight.interop.settings import Assumptions, by_role, channels_of, choose_method, overrides_for
from patchlight.methods import TranslationMethod

State = dict[str, Tensor]

FILE_NAME = re.compile(r"(?P<epoch>.+)_net_(?P<network>[A-Z](_[AB])?)\.pth")

IGNORED = {"D2": "a further discriminator", "E": "pix2pixHD's encoder of instance features"}
"""Networks that other methods have beside generators and discriminators."""


def find_files(source: Path, epoch: str) -> dict[str, Path]:
    """The files of the reference's networks by its names, `G`, `D_A` and so on; a lone file is a generator.

    Raises:
        DataError: there is nothing, or nothing of that epoch.
        ConfigError: a file of a discriminator alone.
    """
    if source.is_file():
        match = FILE_NAME.fullmatch(source.name)
        network = match["network"] if match and match["network"] in NETWORKS.values() else "G"
        if not network.startswith("G"):
            kind = "a discriminator" if network.startswith("D") else "the projection of CUT's loss"
            raise ConfigError(f"input={source} is {kind}: give the generator, or the folder with both")
        return {network: source}
    if not source.is_dir():
        raise DataError(f"input={source} is not there: give a .pth file of the reference code, or the folder of a run")
    found = {match: path for path in sorted(source.iterdir()) if (match := FILE_NAME.fullmatch(path.name))}
    files = {match["network"]: path for match, path in found.items() if match["epoch"] == epoch}
    known = {name: path for name, path in files.items() if name in NETWORKS.values()}
    if not any(name.startswith("G") for name in known):
        epochs = sorted({match["epoch"] for match in found if match["network"].startswith("G")})
        hint = f"; there are generators of epoch={', '.join(epochs)}" if epochs else ""
        raise DataError(f"input={source} has no {epoch}_net_G.pth or {epoch}_net_G_A.pth{hint}")
    return known


def left_out(source: Path, epoch: str) -> list[str]:
    """What lies beside the networks of an epoch and is not imported, with what it is."""
    return [
        f"{path.name}, {IGNORED[match['network']]}, has no place in a checkpoint and is left out"
        for path in (sorted(source.iterdir()) if source.is_dir() else ())
        if (match := FILE_NAME.fullmatch(path.name)) and match["epoch"] == epoch and match["network"] in IGNORED
    ]


def read_tensors(path: Path, *, may_be_empty: bool = False) -> State:
    """The tensors of a .pth file by their names, in float32; the file is not executed.

    Raises:
        DataError: it is damaged, holds anything but tensors, or values that are no numbers.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than tensors and was not loaded, because that could run code "
            f"({_first_line(error)}): save the network's state_dict() alone"
        ) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, AttributeError) as error:
        text = _first_line(error)
        if ".tar format" in str(error):
            text = "it is in the .tar format of the first PyTorch: load it there, or in a sandbox, and save it anew"
        raise DataError(f"{path} cannot be read: {text}") from None
    if not isinstance(content, Mapping) or not (content or may_be_empty):
        raise DataError(f"{path} holds a {type(content).__name__}: a dictionary of tensors by name is needed")
    state: State = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            kind, name = type(value).__name__, str(key)[:SHOWN]
            raise DataError(f"{path} holds a {kind} as {name!r}: a dictionary of tensors alone is needed")
        if not is_whole(value):
            raise DataError(
                f"{path} has no values of its own for each place of {key[:SHOWN]}: save the tensors as they are"
            )
        state[key] = value.detach().float() if value.is_floating_point() else value.detach()
        if not torch.isfinite(state[key]).all():
            raise DataError(f"{path} has values in {key} that are not finite: the network was destroyed in training")
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


SEED = 0
"""Of the initial weights of networks that no file has."""


@dataclass(frozen=True)
class Imported:
    """A checkpoint that is ready to be written, and what there is to say of it."""

    checkpoint: dict[str, Any]
    overrides: list[str]
    """What `patchlight-train` needs to have these networks."""
    roles: dict[str, str]
    """The reference's name of each network that a file had."""
    untrained: tuple[str, ...]
    architectures: dict[str, Architecture]
    notes: tuple[str, ...]


def assemble(files: Mapping[str, Path], assumed: Assumptions) -> Imported:
    """Read the files and make of them what a training would have left.

    Raises:
        UserError: a file cannot be used, or they do not fit together; the message names the file.
    """
    states = {name: read_tensors(path, may_be_empty=name == "F") for name, path in files.items()}
    notes: list[str] = []
    found: dict[str, Architecture] = {}
    for name, state in states.items():
        architecture = _infer(name, files[name], state, notes)
        if architecture is not None:
            found[name] = architecture
    method_name = choose_method(found, assumed.method)
    roles = by_role(found, method_name)
    for name in sorted(found.keys() - set(roles.values())):
        notes.append(f"{files[name].name} has no part in {method_name} and is left out")
    channels = channels_of(found, roles, method_name)
    if channels["A"] > 4 and assumed.n_classes is None:
        notes.append(
            f"domain A has {channels['A']} channels: if they are the classes of label maps, give "
            f"n_classes={channels['A']}, or n_classes={channels['A'] - 1} instances=true where the last is a boundary"
        )
    elif not {1, 3}.issuperset(channels.values()) and assumed.n_classes is None:
        notes.append(f"training takes images of 1 or 3 channels, and these networks have {sorted(channels.values())}")
    overrides = overrides_for(found, roles, method_name, assumed)
    cfg = compose_config("train", overrides)
    method = _filled(cfg, {role: (files[name], states[name]) for role, name in roles.items()})
    untrained = tuple(name for name in method.networks if name not in roles)
    notes += _assumptions(cfg, found[roles[next(iter(roles))]], assumed)
    return Imported(_checkpoint(cfg, method, files, untrained), overrides, roles, untrained, found, tuple(notes))


def _infer(name: str, path: Path, state: State, notes: list[str]) -> Architecture | None:
    """The architecture in a file; None of one beside a generator's that cannot be used, which is noted."""
    try:
        architecture = infer(state)
    except ValueError as error:
        if not name.startswith("G"):
            notes.append(f"{path.name} is left out: {error}")
            return None
        raise DataError(f"{path} is no generator that patchlight has: {error}") from None
    expected = {"G": "generator", "D": "discriminator", "F": "sampler"}[name[0]]
    if architecture.role != expected:
        raise DataError(f"{path} should be a {expected}: it is another")
    if expected == "discriminator" and architecture.out_channels != 1:
        raise DataError(f"{path} makes {architecture.out_channels} values a patch where a discriminator makes 1")
    return architecture


def _filled(cfg: DictConfig, weights: Mapping[str, tuple[Path, State]]) -> TranslationMethod:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        method = build_method(cfg.model, data_channels(cfg.data))
    for role, (path, state) in weights.items():
        try:
            load_reference_weights(method.get_submodule(role), state)
        except ValueError as error:
            raise DataError(f"{path} does not fit the network that it seems to be: {error}") from None
    return method


def _assumptions(cfg: DictConfig, generator: Architecture, assumed: Assumptions) -> list[str]:
    """What the weights do not tell, with what was taken and the key that says otherwise."""
    values = {key: cfg.model.generator[key] for key in generator.unknown}
    values["gan_mode"] = cfg.model.gan_mode
    given = {"dropout": assumed.dropout, "padding": assumed.padding, "gan_mode": assumed.gan_mode}
    return [
        f"the weights do not tell {key}: {key}={str(value).lower()} is taken, unless you give another"
        for key, value in values.items()
        if given[key] is None
    ]


def _checkpoint(
    cfg: DictConfig, method: TranslationMethod, files: Mapping[str, Path], untrained: tuple[str, ...]
) -> dict[str, Any]:
    config = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "data")}
    record = make_record({"task": cfg.task, "seed": cfg.seed, **config})
    return {
        "state_dict": method.state_dict(),
        "epoch": 0,
        "global_step": 0,
        RECORD_KEY: {**record, "imported_from": [path.name for path in files.values()], "untrained": list(untrained)},
    }
