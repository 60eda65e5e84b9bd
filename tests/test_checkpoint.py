"""Checkpoints that a disk or a copy has damaged."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from killing import differences
from patchlight.checkpoint import AtomicCheckpointIO, make_record, read_checkpoint
from patchlight.errors import DataError

PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small checkpoint with tensors of several sizes and types, which are random and so hold no zeros."""
    generator = torch.Generator().manual_seed(0)
    sizes = (1, 7, 64, 900, 4096)
    content = {
        "patchlight": make_record({"model": {"lambda_l1": 100.0, "names": ["a", "b"]}}),
        "state_dict": {f"layer.{n}": torch.randn(n, generator=generator) + 9 for n in sizes},
        "counts": torch.randint(1, 99, (40,), generator=generator),
        "global_step": 3,
    }
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content, path)
    return path.read_bytes()


def flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def outcome(path: Path, content: bytes, expected: Any) -> str:
    """What is said of a damaged file, or "same" if all of it is as it was."""
    path.write_bytes(content)
    try:
        return "same" if not list(differences(read_checkpoint(path), expected)) else "accepted"
    except DataError as error:
        return str(error)


def test_checksums_are_written(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "last.ckpt") as archive:
        assert archive.testzip() is None
        assert sum("/data/" in info.filename and info.CRC != 0 for info in archive.infolist()) == 6


def test_no_damage_is_accepted(whole: bytes, tmp_path: Path) -> None:
    """Flipped bits, zeroed pages and truncation, at random places and in each record."""
    path = tmp_path / "last.ckpt"
    path.write_bytes(whole)
    expected = read_checkpoint(path)
    with zipfile.ZipFile(path) as archive:
        starts = [info.header_offset for info in archive.infolist()]
    rng = random.Random(0)
    places = [rng.randrange(len(whole)) for _ in range(250)]
    places += [start + rng.randrange(30) for start in starts for _ in range(4)]
    places += [len(whole) - 1 - i for i in range(22)]
    damaged = [flipped(whole, place, rng.randrange(8)) for place in places]
    for first in range(0, len(whole), PAGE // 4):
        zeros = bytes(min(PAGE, len(whole) - first))
        damaged.append(whole[:first] + zeros + whole[first + PAGE :])
        damaged.append(whole[:first])
    said = [outcome(path, content, expected) for content in damaged]
    assert said.count("accepted") == 0
    refused = [line for line in said if line != "same"]
    assert len(refused) > 0.8 * len(said)  # the rest hit alignment, or times and attributes that say nothing
    assert all("last.ckpt is damaged: " in line or "holds more than tensors" in line for line in refused)


def test_every_record_is_covered(whole: bytes, tmp_path: Path) -> None:
    """One bit in the middle of each."""
    path = tmp_path / "last.ckpt"
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as archive:
        records = [(info.filename, info.header_offset, archive.read(info)) for info in archive.infolist()]
    for name, start, content in records:
        place = whole.index(content, start + 30 + len(name)) + len(content) // 2
        damaged = flipped(whole, place, 1)
        assert "Bad CRC-32" in outcome(path, damaged, {}), name
        if "/data/" in name:
            assert read_checkpoint(path, mapped=True)["global_step"] == 3
        else:
            with pytest.raises(DataError, match="Bad CRC-32"):
                read_checkpoint(path, mapped=True)
