"""`patchlight-shard`: writes an image set in shards, to be trained on from a disk or an object store."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from patchlight.cli.command import CommandConfig, run_command
from patchlight.errors import ConfigError, DataError
from patchlight.system.files import make_folder


class ShardConfig(CommandConfig):
    """The keys of configs/shard.yaml."""

    examples = {"root": "data=PATH, the image set", "output": "output=FOLDER, a new one for the shards"}
    takes_data = True

    root: str
    output: str
    pairing: Literal["paired", "unpaired"]
    layout: Literal["auto", "side_by_side", "folders"]
    format: Literal["keep", "png", "webp", "jpeg"]
    quality: int = Field(ge=1, le=100)
    shard_mb: float = Field(gt=0, le=4096)
    shuffle: bool
    val_size: Literal["auto"] | Annotated[int, Field(ge=0)]
    seed: int = Field(ge=0)
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]


def shard(config: ShardConfig) -> None:
    """Write the shards of a set.

    Raises:
        UserError: the set cannot be read, the folder is not empty or cannot be written, or Ctrl-C.
    """
    try:
        _write(config)
    except KeyboardInterrupt:
        raise ConfigError(f"interrupted; output={config.output} has no index: remove it") from None


def _write(config: ShardConfig) -> None:
    # Here, so that --help does not wait for them.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from patchlight.data.sources import Split, find_domains, keep_for_validation, stored_set
    from patchlight.data.sources.shards.encoding import ANY
    from patchlight.data.sources.shards.writing import ShardWriter, entries

    console = Console(highlight=False, soft_wrap=True, markup=False)
    root = Path(config.root).expanduser()
    if not os.path.exists(root):
        raise ConfigError(f"data={config.root} is not there: give an image set")
    source = stored_set(root, config.pairing, config.layout).decoded_as(ANY, ANY)
    source.require_training_images()
    splits = {split: find_domains(source, split, config.pairing) for split in get_args(Split)}
    if not min(len(splits["train"].a), len(splits["train"].b)):
        raise DataError(f"data={config.root} has no training images of both domains")
    if not len(splits["val"]):
        kept = keep_for_validation(splits["train"], config.val_size, config.seed, config.pairing)
        splits["train"], splits["val"], notes = kept
        for note in notes:
            console.print(note)
    folder = _new_folder(config.output)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    writer = ShardWriter(
        folder, int(config.shard_mb * 2**20), config.format, config.quality, config.seed if config.shuffle else None,
        cores if config.workers == "auto" else config.workers,
    )  # fmt: skip
    paired = config.pairing == "paired"
    began = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("writing", total=sum(entries(domains, paired) for domains in splits.values()))
        parts = writer.write(splits, paired, lambda: progress.advance(task))
    for part in parts:
        size = sum(shard.bytes for shard in part.shards)
        name = part.split if part.holds in ("pairs", "side_by_side") else part.split + part.holds
        what = "pairs" if part.holds in ("pairs", "side_by_side") else "images"
        console.print(f"{name}: {part.images} {what} in {len(part.shards)} shards, {size / 1e6:.1f} MB")
    console.print(f"written: {folder} in {time.perf_counter() - began:.1f} s")


def _new_folder(output: str) -> Path:
    folder = Path(output).expanduser()
    if "://" in output:
        raise ConfigError(f"output={output} is no folder: write the shards into one, and copy it with the store's tool")
    make_folder(folder)
    if any(folder.iterdir()):
        raise ConfigError(f"output={output} is not empty: give a new folder")
    return folder


main = partial(run_command, "shard", ShardConfig, shard)
