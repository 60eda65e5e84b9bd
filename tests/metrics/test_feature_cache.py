from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path

import pytest
import torch

from patchlight.metrics.distances import FeatureCache


def test_features_are_there_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "features" / "net.pt"
    first, other = FeatureCache(path), FeatureCache(path)
    first.add(["a", "b"], torch.arange(6.0).view(2, 3))
    first.write()
    other.add(["c"], torch.ones(1, 3))
    other.write()
    found = FeatureCache(path)
    assert len(found) == 3
    assert found["b"].tolist() == [3, 4, 5]
    assert [p.name for p in path.parent.iterdir()] == ["net.pt"]


def full(path: Path, content: bytes) -> int:
    with path.open("wb") as file:
        file.write(bytes(content)[:10])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def refused(path: Path, *args: object, **options: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.mark.parametrize("trouble", ["disk", "folder"])
def test_a_disk_that_cannot_be_written_is_told_of_once(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "features" / "net.pt"
    cache = FeatureCache(path)
    cache.add(["a"], torch.ones(1, 3))
    if trouble == "disk":
        monkeypatch.setattr(Path, "write_bytes", full)
        said = "No space left on device"
    else:
        monkeypatch.setattr(Path, "mkdir", refused)
        said = "Permission denied"
    with pytest.warns(UserWarning, match=rf"features/net.pt cannot be written \({said}\): features of real images"):
        cache.write()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()], "no part of a file is left"
    cache.add(["b"], torch.ones(1, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.write()
    assert cache["a"].tolist() == cache["b"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"no features", b"PK\3\4"])
def test_a_damaged_file_is_begun_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    cache = FeatureCache(tmp_path / "net.pt")
    assert len(cache) == 0
    cache.add(["a"], torch.ones(1, 3))
    cache.write()
    assert len(FeatureCache(tmp_path / "net.pt")) == 1
