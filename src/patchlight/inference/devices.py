"""Where a network computes, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from patchlight.errors import ConfigError
from patchlight.system.devices import has_bf16_units

Precision = Literal["auto", "32-true", "bf16"]


def choose_device(name: str | None) -> torch.device:
    """The device of that name; None or `auto` is the first accelerator there is, else the CPU.

    Raises:
        ConfigError: this machine has no such device.
    """
    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(str(name))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise ConfigError(f"device={name} cannot be used ({reason}): give cpu, cuda, cuda:1, mps or auto") from None
    return device


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether convolutions compute in bfloat16; `auto` says so where the device has matrix units for it."""
    if precision == "auto":
        return has_bf16_units(device)
    return precision == "bf16"
