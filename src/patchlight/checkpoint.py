"""Checkpoints: written in one piece, read with nothing but tensors and plain values in them."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor
from torch.nn import Parameter

from patchlight import __version__
from patchlight.errors import DataError, TrainingError
from patchlight.system.job_record import search_folders
from patchlight.trust import trusted_config

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""The checkpoints that a run keeps: of its newest state, of the one before, and of the best."""

RECORD_KEY = "patchlight"
EMA_KEY = "ema"
FORMAT = 2
ALMOST_FULL = 2**26
"""Free bytes below which a disk is taken for full when a checkpoint cannot be written."""

CHUNK = 2**20
"""Bytes that are read at once where a file's checksums are compared."""

TENSORS = re.compile(r"[^/]*/data/\d+")
"""The records of a checkpoint's archive that hold the tensors' values."""

Weights = Literal["ema", "raw"]

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


def make_record(config: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the run that wrote it; `config` is the resolved configuration in plain types."""
    return {"format": FORMAT, "version": __version__, "config": config}


def read_checkpoint(path: str | Path, mapped: bool = False) -> dict[str, Any]:
    """A checkpoint of this project, on the CPU.

    `mapped` leaves its tensors in the file until they are used, for who needs a few of them and copies those; their
    checksums are not looked at then, see `verify`.

    Raises:
        DataError: the file is missing, damaged, holds anything but tensors and plain values (it is not executed), or
            was written by something else.
    """
    path = Path(path)
    verify(path, tensors=not mapped)
    return checked(path, _load(path, mapped))


def checked(path: Path, checkpoint: Any) -> dict[str, Any]:
    """The content of a checkpoint file, once its record and parts are what they should be.

    Raises:
        DataError: it is damaged, or was written by something else.
    """
    if not isinstance(checkpoint, dict) or RECORD_KEY not in checkpoint:
        raise DataError(f"{path} is not a checkpoint of patchlight: it says nothing of the run that wrote it")
    record = checkpoint[RECORD_KEY]
    if not isinstance(record, dict) or type(record.get("format")) is not int:
        raise DataError(f"{path} is damaged: what it says of the run that wrote it has no format")
    if record["format"] < FORMAT:
        raise DataError(f"{path} was written by a version of patchlight before the first release and cannot be used")
    if record["format"] > FORMAT:
        raise DataError(
            f"{path} was written by patchlight {str(record.get('version'))[:20]}, which is newer than this "
            f"{__version__}: update patchlight"
        )
    check_contents(path, checkpoint, record)
    return checkpoint


def recorded_config(checkpoint: Mapping[str, Any], path: str | Path, *, trust: bool) -> dict[str, Any]:
    """The configuration of the run that wrote a checkpoint, see `trusted_config`.

    With `trust` the modules that it names may lie in the folders of the command, see `patchlight.system.job_record`.

    Raises:
        DataError: it cannot be used, or names code that is not this package's, without `trust`.
    """
    config = trusted_config(checkpoint[RECORD_KEY]["config"], str(path), trust=trust)
    if trust:
        search_folders()
    return config


def verify(path: Path, tensors: bool = True) -> None:
    """Compare a checkpoint with the checksums in it, which PyTorch writes and does not look at.

    Takes 0.06 s per 100 MB from memory, and what the disk needs; without `tensors`, no time.

    Raises:
        DataError: the file is missing or damaged.
    """
    _require_file(path)
    try:
        if not zipfile.is_zipfile(path):
            return  # whatever it is, PyTorch says what is wrong with it
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{info.filename} is compressed, which PyTorch never does")
                if tensors or not TENSORS.fullmatch(info.filename):
                    with archive.open(info) as record:
                        while record.read(CHUNK):
                            pass
    except Exception as error:  # of a damaged file any part may be anything
        raise DataError(f"{path} is damaged: {_first_line(error)}") from None


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is not there: give the path of a checkpoint, such as RUN/checkpoints/last.ckpt")


def _load(path: Path, mapped: bool = False) -> Any:
    """What a file holds, if that is tensors and plain values."""
    _require_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than tensors and plain values and was not loaded, because that could run code: "
            f"use a checkpoint that patchlight wrote ({_first_line(error)})"
        ) from None
    except Exception as error:  # of a damaged file any part may be anything
        raise DataError(f"{path} is damaged: {_first_line(error)}") from None


def weights(checkpoint: Mapping[str, Any], which: Weights = "ema") -> dict[str, Tensor]:
    """The networks' state in a checkpoint: with the averaged generators, if it has any, or as they were trained."""
    state = dict(checkpoint["state_dict"])
    return state | dict(checkpoint.get(EMA_KEY, {})) if which == "ema" else state


class AtomicCheckpointIO(CheckpointIO):
    """Writes a checkpoint beside its place and moves it there once it is on the disk, so that it is whole or not there.

    With `storage_options={"previous": PATH}` a checkpoint that is there already is kept under that path.

    Raises:
        TrainingError: the file cannot be written; those that were there have not been touched.
        DataError: the file cannot be read, see `read_checkpoint`.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if storage_options and path.is_file():
                path.replace(storage_options["previous"])
            temporary.replace(path)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            reason = _reason(error, path.parent)
            raise TrainingError(
                f"{path} cannot be written ({reason}): make room or choose another folder with hydra.run.dir=DIR; the "
                f"checkpoints written before are untouched, and resume=auto goes on from the newest"
            ) from None

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        loaded: dict[str, Any] = _load(Path(path))
        return loaded

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def _reason(error: Exception, folder: Path) -> str:
    """Why a file could not be written; PyTorch says of a full disk only where in the file it came to stand."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if folder.is_dir() and shutil.disk_usage(folder).free < ALMOST_FULL:
        return os.strerror(errno.ENOSPC)
    return _first_line(error)


def remove_unfinished(folder: Path) -> None:
    """Remove what checkpoints that were being written when their run was killed have left behind."""
    for file in folder.glob(".*.ckpt.*.part"):
        file.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


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
