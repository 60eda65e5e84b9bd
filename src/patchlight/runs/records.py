"""What a run leaves for people and for later commands: how it was made (manifest.json), how it ended (outcome.json)."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
import subprocess
import time
import traceback
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from patchlight.config.compose import dotted
from patchlight.errors import DataError, TrainingError, UserError
from patchlight.system.files import write_json
from patchlight.system.lightning_internals import is_first
from patchlight.trust import RENAMED, read_yaml

PACKAGES = (
    "patchlight", "torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb",
    "albumentations", "opencv-python-headless", "numpy", "pillow",
)  # fmt: skip

FILE = "outcome.json"

LENGTHS = frozenset(
    {"trainer.max_epochs", "trainer.max_steps", "model.schedule.n_epochs", "model.schedule.n_epochs_decay"}
)
"""What may differ between a finished run and the longer one that goes on with it."""

Status = Literal["finished", "failed", "left out"]


def make_manifest(seed: int, discriminators: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that is about to start, in plain types."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command_line(),
        "git": git_state(),
        "versions": versions,
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
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8"), re.M) if cpuinfo.is_file() else None
    return {
        "platform": platform.platform(),
        "processor": named[1].strip() if named else platform.processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


@dataclass(frozen=True)
class Objective:
    """A figure by its name; the value is None where it is not a number, or was never measured."""

    name: str
    value: float | None


@dataclass
class Outcome:
    """How a run ended, what was asked of it, the figure it is judged by, and how long it took."""

    status: Status = "finished"
    message: str | None = None
    overrides: list[str] = field(default_factory=list)
    objective: Objective | None = None
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        """Keep it in a folder; only the first rank does.

        Raises:
            TrainingError: the file cannot be written.
        """
        if not is_first():
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / FILE, asdict(self))
        except OSError as error:
            raise TrainingError(f"{folder / FILE} cannot be written ({error.strerror})") from None

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """That of a folder; None where no run has ended there."""
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            objective = found["objective"]
            return cls(**{**found, "objective": Objective(**objective) if objective is not None else None})
        except (OSError, ValueError, TypeError, KeyError):
            return None


@contextmanager
def recorded(folder: Path, objective: str | None) -> Iterator[Outcome]:
    """Write down how what happens in this context ends; `Outcome.objective` is for it to fill in by `measured`.

    What is interrupted has not ended: nothing is written then.
    """
    outcome = Outcome(overrides=overrides(), objective=measured(objective, None))
    if is_first():
        (folder / FILE).unlink(missing_ok=True)
    started = time.monotonic()
    try:
        yield outcome
    except Exception as error:
        outcome.status, outcome.message = "failed", last_line(error)
        outcome.seconds = time.monotonic() - started
        with suppress(UserError):  # the disk may be what failed
            outcome.write(folder)
        raise
    outcome.seconds = time.monotonic() - started
    outcome.write(folder)


def measured(name: str | None, value: float | None) -> Objective | None:
    """An objective as it is kept: JSON knows finite numbers only."""
    if name is None:
        return None
    return Objective(name, value if value is not None and math.isfinite(value) else None)


def last_line(error: BaseException) -> str:
    """What there is to say of an error: the message of one that was written for the user, or the traceback's end."""
    if isinstance(error, UserError):
        return str(error)
    return " ".join(traceback.format_exception_only(error)[-1].split())


def overrides() -> list[str]:
    """What was asked of this run; of a job of a sweep, its own part of the sweep. Nothing of a run without command."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def first_difference(cfg: DictConfig, folder: Path, apart_from: Container[str] = ()) -> str | None:
    """How a completed configuration differs from that of the run in a folder; None if it is the same or there is none.

    `resume`, `extras`, the folder's own place and the keys of `apart_from` may differ.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        return None
    try:
        before = _flat(read_yaml(path))
    except (DataError, KeyError, TypeError):
        return None  # the run was killed while it wrote the file, and writes it again
    now = _flat(OmegaConf.to_container(cfg))
    if not before.get("trainer.limit_val_batches"):
        before["trainer.limit_val_batches"] = now.get("trainer.limit_val_batches")  # a run without images to validate
    for key in [*now, *before]:
        if key.partition(".")[0] in ("resume", "extras") or key in apart_from:
            continue
        if now.get(key) != before.get(key):
            return f"{key}={now.get(key, 'not set')}, and there {before.get(key, 'not set')}"
    return None


def _flat(node: Any) -> dict[str, Any]:
    """All values by their dotted keys, with the folder's own path cut out of them."""
    run_dir = node["paths"]["run_dir"]
    return {
        key: RENAMED.get(value, value).replace(run_dir, "") if isinstance(value, str) else value
        for key, value in dotted(node)
    }
