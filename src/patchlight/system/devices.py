"""What the devices of this machine can do."""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Parameters of glibc's `mallopt`, by the numbers that its header gives them."""

_DEFAULT_MMAP_MAX, _DEFAULT_TRIM_THRESHOLD = 65536, 128 * 1024


def device_of(accelerator: str) -> torch.device:
    """The kind of device that a Lightning accelerator's name stands for; `auto` is the fastest there is."""
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "mps", "auto") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_bf16_units(device: torch.device) -> bool:
    """Whether bfloat16 is multiplied by hardware: from compute capability 8, or by AMX or AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # `torch.cpu.get_capabilities` says the same in newer releases only.
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return False


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
