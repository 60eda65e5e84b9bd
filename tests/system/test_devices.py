from __future__ import annotations

from pathlib import Path

import pytest

from patchlight.system.devices import available_memory

GIB = 2**30


def write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write({tmp_path / "proc/meminfo": f"MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n"})
    return tmp_path / "proc"


def test_what_the_machine_has(proc: Path, tmp_path: Path) -> None:
    assert available_memory(proc, tmp_path / "nowhere") == 8 * GIB


@pytest.mark.parametrize("at", ["", "job", "job/step"])
def test_the_tightest_group_counts(at: str, proc: Path, tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    write({proc / "self/cgroup": "0::/job/step\n"})
    for folder in ("", "job", "job/step"):
        limit = str(3 * GIB) if folder == at else "max"
        write({groups / folder / "memory.max": limit, groups / folder / "memory.current": str(2 * GIB)})
    write({groups / at / "memory.stat": f"anon 5\ninactive_file {GIB}\n"})
    assert available_memory(proc, groups) == 2 * GIB


def test_version_1_and_a_container_that_sees_only_its_own_group(proc: Path, tmp_path: Path) -> None:
    write({
        proc / "self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n1:name=systemd:/a\n",
        tmp_path / "cgroup/memory/memory.limit_in_bytes": str(4 * GIB),
        tmp_path / "cgroup/memory/memory.usage_in_bytes": str(GIB),
        tmp_path / "cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
    })  # fmt: skip
    assert available_memory(proc, tmp_path / "cgroup") == 3.5 * GIB


def test_there_is_never_less_than_nothing(proc: Path, tmp_path: Path) -> None:
    write({proc / "self/cgroup": "0::/\n", tmp_path / "c/memory.max": "10", tmp_path / "c/memory.current": "20"})
    assert available_memory(proc, tmp_path / "c") == 0


def test_this_machine() -> None:
    assert GIB // 8 < available_memory() < 2**50
