"""The reference code's files: which there are, and the tensors in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from patchlight.checkpoint import SHOWN, is_whole
from patchlight.errors import ConfigError, DataError
from patchlight.interop.reference import NETWORKS

State = dict[str, Tensor]

FILE_NAME = re.compile(r"(?P<epoch>.+)_net_(?P<network>[A-Z](_[AB])?)\.pth")

IGNORED = {"F": "the projection that CUT's loss uses", "D2": "a further discriminator"}
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
        if network.startswith("D"):
            raise ConfigError(f"input={source} is a discriminator: give the generator, or the folder with both")
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


def read_tensors(path: Path) -> State:
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
    if not isinstance(content, Mapping) or not content:
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
