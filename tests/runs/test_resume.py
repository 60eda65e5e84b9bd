"""Which checkpoint of a folder a run goes on from."""

from __future__ import annotations

import os
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch

from patchlight.checkpoint import AtomicCheckpointIO, make_record
from patchlight.errors import ConfigError, DataError
from patchlight.methods import Pix2Pix
from patchlight.networks import PatchDiscriminator, UNetGenerator
from patchlight.runs.resume import find_checkpoint, require_fit, set_aside_later


def write(run: Path, name: str, batch: int, **more: Any) -> Path:
    """A checkpoint of a run in which each epoch has ten batches."""
    path = run / "checkpoints" / name
    content = {
        "patchlight": make_record({}), "global_step": batch, "position": {"epoch": batch // 10}, "optimizer_states": [],
        "loggers": {"csv_rows": 7, "wandb_id": "x"}, "ranks": [{"random": {}}], "state_dict": {"a": torch.ones(50)},
    }  # fmt: skip
    AtomicCheckpointIO().save_checkpoint({**content, **more}, path)
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(50).numpy().tobytes()) + 17] ^= 1
    path.write_bytes(content)


WITHOUT_POOLS = {"ranks": [{"pools": None}]}


def test_the_newest_is_the_one_with_most_batches_whatever_the_files_times(tmp_path: Path) -> None:
    for name, batch in (("last.ckpt", 30), ("previous.ckpt", 20), ("best.ckpt", 30), ("mine.ckpt", 4)):
        write(tmp_path, name, batch)
    names = ["mine.ckpt", "previous.ckpt", "last.ckpt", "best.ckpt"]
    for order in (names, names[::-1]):
        for age, name in enumerate(order):
            os.utime(tmp_path / "checkpoints" / name, (age, age))
        point = find_checkpoint("auto", tmp_path)
        assert point is not None
        assert (point.path.name, point.batch, point.epoch, point.csv_rows) == ("last.ckpt", 30, 3, 7)
        assert point.notes == ("going on from last.ckpt, batch 30",)
    write(tmp_path, "best.ckpt", 35)
    assert find_checkpoint("auto", tmp_path).path.name == "best.ckpt"  # type: ignore[union-attr]
    # An exact continuation comes first.
    write(tmp_path, "best.ckpt", 35, **WITHOUT_POOLS)
    point = find_checkpoint("auto", tmp_path)
    assert point is not None
    assert point.path.name == "last.ckpt"
    assert not any(isinstance(value, torch.Tensor | dict | list) for value in astuple(point))


def test_damaged_ones_give_way_and_are_named(tmp_path: Path) -> None:
    last = write(tmp_path, "last.ckpt", 30)
    previous = write(tmp_path, "previous.ckpt", 20)
    write(tmp_path, "best.ckpt", 25, **WITHOUT_POOLS)
    flip(last)
    notes = find_checkpoint("auto", tmp_path).notes  # type: ignore[union-attr]
    assert len(notes) == 2
    assert f"{last} is damaged: Bad CRC-32" in notes[0]
    assert notes[1] == "going on from previous.ckpt, batch 20"
    previous.write_bytes(previous.read_bytes()[:900])
    notes = find_checkpoint("auto", tmp_path).notes  # type: ignore[union-attr]
    assert "going on from best.ckpt, batch 25; it is without image pools, which begin anew" in notes[2]
    (tmp_path / "checkpoints/best.ckpt").write_bytes(b"")
    with pytest.raises(DataError, match="resume=auto found no good checkpoint in .*best.ckpt is damaged.*last.ckpt is"):
        find_checkpoint("auto", tmp_path)
    with pytest.raises(DataError, match="last.ckpt is damaged: Bad CRC-32"):
        find_checkpoint(str(last), tmp_path)
    assert find_checkpoint("auto", tmp_path / "empty") is None


def test_what_cannot_be_gone_on_from_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "last.ckpt", 3, position=None)
    with pytest.raises(DataError, match="last.ckpt lacks a part that a run needs to go on from it"):
        find_checkpoint(str(path), tmp_path)
    path = write(tmp_path, "last.ckpt", 3)
    method = Pix2Pix(UNetGenerator(3, 3, 2, 2), PatchDiscriminator(6, 2, 1))
    point = find_checkpoint(str(path), tmp_path)
    assert point is not None
    assert point.notes == ()
    with pytest.raises(ConfigError, match="last.ckpt holds other networks than model describes"):
        require_fit(method, point, max_epochs=3)
    write(tmp_path, "last.ckpt", 30, state_dict=method.state_dict())
    point = find_checkpoint(str(path), tmp_path)
    assert point is not None
    require_fit(method, point, max_epochs=3)
    require_fit(method, point, max_epochs=-1)
    with pytest.raises(ConfigError, match=r"trainer.max_epochs=2 is less than the 3 epochs that .*last.ckpt has"):
        require_fit(method, point, max_epochs=2)


def test_going_back_sets_the_later_ones_aside(tmp_path: Path) -> None:
    write(tmp_path, "last.ckpt", 30)
    previous = write(tmp_path, "previous.ckpt", 20)
    write(tmp_path, "best.ckpt", 10)
    point = find_checkpoint(str(previous), tmp_path)
    assert point is not None
    assert set_aside_later(point) == ["last.ckpt is of batch 30, which is going to be repeated: kept as last.batch30"]
    assert sorted(p.name for p in previous.parent.iterdir()) == ["best.ckpt", "last.batch30", "previous.ckpt"]
    assert find_checkpoint("auto", tmp_path).path == previous  # type: ignore[union-attr]
