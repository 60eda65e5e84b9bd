"""What the devices of this machine can do, and how much memory may be used."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Literal

import torch

from patchlight.errors import ConfigError

Precision = Literal["auto", "32-true", "bf16"]
"""The precision of a translation."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Parameters of glibc's `mallopt`, by the numbers that its header gives them."""

_DEFAULT_MMAP_MAX, _DEFAULT_TRIM_THRESHOLD = 65536, 128 * 1024

UNKNOWN = 4 << 30
"""Bytes that are taken to be available where the system does not say."""


def device_of(accelerator: str) -> torch.device:
    """The kind of device that a Lightning accelerator's name stands for; `auto` is the fastest there is."""
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "mps", "auto") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_device(name: str | None) -> torch.device:
    """The device of that name; None or `auto` is the first accelerator there is, else the CPU.

    Raises:
        ConfigError: this machine has no such device.
    """
    if name in (None, "auto"):
        return device_of("auto")
    try:
        device = torch.device(str(name))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise ConfigError(f"device={name} cannot be used ({reason}): give cpu, cuda, cuda:1, mps or auto") from None
    return device


def has_bf16_units(device: torch.device) -> bool:
    """Whether bfloat16 is multiplied by hardware: from compute capability 8, or by AMX or AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # `torch.cpu.get_capabilities` says the same in newer releases only.
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return False


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether convolutions compute in bfloat16; `auto` says so where the device has matrix units for it."""
    if precision == "auto":
        return has_bf16_units(device)
    return precision == "bf16"


def retain_allocator_memory() -> None:
    """Let glibc keep the blocks that PyTorch gives back, for the next step, which asks for the same ones.

    By default it returns large blocks to the system, which hands them out again page by page, zeroed. One arena,
    because what the backward pass frees in its own thread is wanted by the forward pass in another.
    """
    _tell_glibc({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_ARENA_MAX: 1})


def return_memory() -> None:
    """Let glibc give large blocks back at once again, for work whose blocks are larger than what is worth keeping."""
    _tell_glibc({_M_MMAP_MAX: _DEFAULT_MMAP_MAX, _M_TRIM_THRESHOLD: _DEFAULT_TRIM_THRESHOLD})


def _tell_glibc(settings: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        for parameter, value in settings.items():
            mallopt(parameter, value)


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
                pages = re.findall(r"^(?:total_)?inactive_file (\d+)", _text(folder / "memory.stat"), re.M)
                amounts.append(most - now + int(pages[-1] if pages else 0))
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


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
