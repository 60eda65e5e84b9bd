"""Which checkpoint a run goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchlight.checkpoint import read_checkpoint
from patchlight.errors import ConfigError, DataError


@dataclass(frozen=True)
class Resumption:
    """A checkpoint that a run continues, and what there is to say of the choice."""

    path: Path
    checkpoint: dict[str, Any]
    same_run: bool
    notes: tuple[str, ...] = ()


def find_checkpoint(resume: str | None, run_dir: Path) -> Resumption | None:
    """The checkpoint that `resume` means: `auto` is the newest good one in the run's folder, or none if it has none.

    Raises:
        DataError: the file is missing or cannot be used, or every one of the folder is damaged.
        ConfigError: the folder holds another run.
    """
    folder = run_dir / "checkpoints"
    if resume != "auto":
        path = Path(resume) if resume is not None else None
        same_run = path is not None and path.resolve().parent == folder.resolve()
        if not same_run and any(folder.glob("*.ckpt")):
            raise ConfigError(
                f"hydra.run.dir={run_dir} holds a run already, which would be lost: go on with it by resume=auto, or "
                f"choose another folder"
            )
        return Resumption(path, read_checkpoint(path), same_run) if path is not None else None
    damaged: list[str] = []
    newest_first = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in newest_first:
        try:
            checkpoint = read_checkpoint(path)
        except DataError as error:
            damaged.append(str(error))
            continue
        going_on = f"going on from {path.name}, batch {checkpoint['global_step']}"
        return Resumption(path, checkpoint, same_run=True, notes=(*damaged, going_on))
    if damaged:
        raise DataError(f"resume=auto found no good checkpoint in {folder}: {'; '.join(damaged)}")
    return None
