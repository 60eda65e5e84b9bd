"""Reading checkpoints, with nothing but tensors and plain values in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from patchlight import __version__
from patchlight.errors import DataError

RECORD_KEY = "patchlight"
FORMAT = 1


def make_record(config: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the run that wrote it; `config` is the resolved configuration in plain types."""
    return {"format": FORMAT, "version": __version__, "config": config}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this project, on the CPU.

    Raises:
        DataError: the file is missing, damaged, holds anything but tensors and plain values (it is not executed), or
            was written by something else.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not there: give the path of a checkpoint, such as RUN/checkpoints/last.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than tensors and plain values and was not loaded, because that could run code: "
            f"use a checkpoint that patchlight wrote ({_first_line(error)})"
        ) from None
    except (OSError, EOFError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {_first_line(error)}") from None
    if not isinstance(checkpoint, dict) or RECORD_KEY not in checkpoint:
        raise DataError(f"{path} is not a checkpoint of patchlight: it says nothing of the run that wrote it")
    if checkpoint[RECORD_KEY]["format"] > FORMAT:
        raise DataError(
            f"{path} was written by patchlight {checkpoint[RECORD_KEY]['version']}, which is newer than this "
            f"{__version__}: update patchlight"
        )
    return checkpoint


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
