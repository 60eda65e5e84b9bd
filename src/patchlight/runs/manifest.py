"""What a run was made with: commit, versions, hardware, seed, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig

PACKAGES = (
    "patchlight", "torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb",
    "albumentations", "opencv-python-headless", "numpy", "pillow",
)  # fmt: skip


def make_manifest(seed: int, discriminators: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that is about to start, in plain types."""
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command_line(),
        "git": git_state(),
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": hardware(),
        "seed": seed,
        "discriminators": discriminators,
        "data": data,
    }


def command_line() -> str | None:
    """The command that makes this run again; of a job of a sweep, its own part of the sweep. None without a command."""
    if not HydraConfig.initialized():
        return None
    return shlex.join(["patchlight-train", *HydraConfig.get().overrides.task])


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that the package runs from, and whether it was changed since; None outside of one."""
    folder = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", str(folder)))}
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """Processor, cores, threads and GPUs of this machine, in plain types."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
