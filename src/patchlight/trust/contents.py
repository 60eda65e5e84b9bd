"""The types of what a checkpoint holds, looked at before any of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from patchlight.errors import DataError

WEIGHTS = ("state_dict", "ema")

PARTS: Mapping[str, type[Any]] = {
    "state_dict": Mapping, "ema": Mapping, "global_step": int, "epoch": int, "images_seen": int, "ema_batches": int,
    "progress": Mapping, "ranks": list, "loggers": Mapping, "loops": Mapping, "callbacks": Mapping,
    "optimizer_states": list, "lr_schedulers": list,
}  # fmt: skip
"""The parts of a checkpoint beside its record; only the first has to be there."""

RECORDED: Mapping[str, type[Any]] = {"version": str, "config": Mapping, "untrained": list}
"""The parts of the record beside its format; the first two have to be there."""

MAX_SHARED = 4
"""How often the bytes of a file may be used: networks can share weights, but no tensor repeats its own."""

SHOWN = 200
"""Characters of a name that a message tells."""


def check_contents(path: Path, checkpoint: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """See whether every part has its type, and the networks are tensors that the file really holds.

    Raises:
        DataError: it is not so.
    """
    for where, values, kinds, needed in (
        ("the checkpoint", checkpoint, PARTS, ("state_dict",)),
        ("its record", record, RECORDED, ("version", "config")),
    ):
        for name, kind in kinds.items():
            if name not in values and name in needed:
                raise DataError(f"{path} is damaged: {where} has no {name}")
            if name in values and (not isinstance(values[name], kind) or isinstance(values[name], bool)):
                raise DataError(f"{path} is damaged: {name} of {where} is a {type(values[name]).__name__}")
    room = path.stat().st_size * MAX_SHARED
    for part in WEIGHTS:
        for name, tensor in checkpoint.get(part, {}).items():
            if not isinstance(name, str) or not is_whole(tensor):
                raise DataError(f"{path} is damaged: {part} holds something else than tensors at {str(name)[:SHOWN]}")
            room -= tensor.numel() * tensor.element_size()
    if room < 0:
        raise DataError(f"{path} is damaged: it describes more weights than it holds")


def is_whole(tensor: object) -> bool:
    """Whether this is a tensor of real numbers, with a place of its own for each of its values."""
    if not isinstance(tensor, Tensor) or type(tensor) not in (Tensor, Parameter):
        return False
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
