"""A model as a folder of data: `model.safetensors` and `config.json`, as `patchlight-export format=hub` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from patchlight.checkpoint import RECORD_KEY, checked
from patchlight.errors import DataError
from patchlight.trust import read_json

TENSORS, RECORD = "model.safetensors", "config.json"
"""The weights by NETWORK.LAYER, and the record of a checkpoint: format, version, configuration, networks left out."""


def read_model_folder(folder: Path) -> dict[str, Any]:
    """What a checkpoint of the same model would hold: its networks' state, and the record, which is data like there.

    The tensors stay in the file until they are used.

    Raises:
        DataError: a file is missing or damaged, or was written by something else.
    """
    tensors, record = folder / TENSORS, folder / RECORD
    for file in (tensors, record):
        if not file.is_file():
            raise DataError(
                f"{folder} has no {file.name}: give a checkpoint, such as RUN/checkpoints/last.ckpt, or a folder that "
                f"patchlight-export format=hub wrote"
            )
    try:
        with safe_open(tensors, framework="pt") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{tensors} is damaged: {' '.join(str(error).split())[:200]}") from None
    return checked(tensors, {"state_dict": state, RECORD_KEY: read_json(record)})
