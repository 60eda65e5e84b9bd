"""What makes a step faster, or smaller, without changing what it computes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Literal

import torch
from omegaconf import DictConfig

from patchlight.errors import ConfigError
from patchlight.losses import Penalty
from patchlight.methods import TranslationMethod
from patchlight.system.devices import device_of, has_bf16_units

HALF = ("bf16-mixed", "16-mixed")
"""Precisions with convolutions in 16 bits."""


def resolve_precision(trainer: DictConfig) -> None:
    """Replace `trainer.precision=auto`, in place, by what is fastest on the device: bf16-mixed or 32-true."""
    if trainer.precision == "auto":
        trainer.precision = "bf16-mixed" if has_bf16_units(device_of(trainer.accelerator)) else "32-true"


@dataclass(frozen=True)
class Performance:
    """Settings of the `perf` group.

    `channels_last` is the memory layout of the networks' weights and features; `auto` takes it where convolutions are
    computed in 16 bits, whose kernels want it. `compile` compiles each network with TorchInductor, without
    discriminators that have a penalty; the keys of checkpoints stay as they are. `gradient_checkpointing` computes the
    generators' features again in the backward pass instead of keeping them: a fifth more time, for large images.
    """

    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    gradient_checkpointing: bool = False

    def apply(self, method: TranslationMethod, precision: str, accelerator: str) -> list[str]:
        """Prepare a method's networks, in place, before they are trained; returns what there is to say of it.

        A penalty differentiates a gradient of the discriminators, which those of compiled networks do not allow.

        Raises:
            ConfigError: there is no compiler, or a generator that cannot compute its features again.
        """
        networks = method.modules_of()
        if self.gradient_checkpointing:
            for generator in method.generators:
                try:
                    generator.recompute_features()
                except ValueError as error:
                    raise ConfigError(f"perf.gradient_checkpointing: {error}") from None
        if self.channels_last is True or (self.channels_last == "auto" and precision in HALF):
            for network in networks.values():
                network.to(memory_format=torch.channels_last)
        if not self.compile:
            return []
        if device_of(accelerator).type == "cpu":
            _require_compiler()
        penalised = any(isinstance(module, Penalty) for module in method.modules())
        for name, network in networks.items():
            if not (penalised and method.networks[name].kind == "discriminator"):
                network.compile()
        return ["perf.compile: discriminators with a penalty are not compiled, the generators are"] * penalised


def _require_compiler() -> None:
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++"])):
        raise ConfigError(
            f"perf.compile=true needs a C++ compiler on a CPU, and there is no {compiler or 'g++'}: install one "
            f"(Debian: apt install g++), or name another in the variable CXX"
        )
