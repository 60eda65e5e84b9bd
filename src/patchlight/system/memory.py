"""How much memory may be used: of the machine, and of the container or job that this process is in."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = 4 << 30
"""Bytes that are taken to be available where the system does not say."""


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can be had without swapping, within the limits of all control groups of this process."""
    amounts = [_of_machine(proc)]
    for folder in _control_groups(proc, cgroups):
        # Version 2 names the files in one way, version 1 in another.
        for limit, used in (
            ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):  # fmt: skip
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None:
                # Pages of files that were read count as used, and are given up as soon as others need the room.
                amounts.append(most - now + _inactive_file_pages(folder))
    return max(min(amounts), 0)


def _of_machine(proc: Path) -> int:
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN


def _control_groups(proc: Path, cgroups: Path) -> list[Path]:
    """The folders of all control groups around this process, as far as they can be seen from within a container."""
    found = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = cgroups / "memory" if controllers else cgroups
        folder = top / path.lstrip("/")
        found += [folder, *(parent for parent in folder.parents if parent.is_relative_to(top))]
    return found


def _inactive_file_pages(folder: Path) -> int:
    values = dict(line.split(maxsplit=1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
