"""The kill test: a training killed at random moments and resumed ends with the same bits as one left alone.

`python tests/support/killing.py --times 20` runs it that often for each model and prints a line per kill. Two
batches make a step and the generators move in every second one, so that a kill finds batches that wait, and turns.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from forked import Forked
from object_server import serving
from patchlight.data import SyntheticSet
from patchlight.data.sources import Folders, Pairing, Split, find_domains
from patchlight.data.sources.shards.writing import ShardWriter

COMMON = (
    "data.image_size=32", "data.load_size=36", "data.num_workers=2", "data.val_size=4", "+data/augment=colour",
    "callbacks=ema", "callbacks.ema.decay=0.9", "callbacks.last.every_n_train_steps=5", "logger=csv", "trainer=cpu",
    "trainer.log_every_n_steps=1", "trainer.val_check_interval=0.5", "callbacks.patch_maps.every_n_validations=4",
    "model.schedule.n_epochs=2", "model.schedule.n_epochs_decay=2", "model.accumulate=2", "model.d_steps_per_g_step=2",
)  # fmt: skip

PATCHES = ("model.discriminator.ndf=8", "model.discriminator.n_layers=1")

CUT = (
    *PATCHES, "data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=2", "model.generator.ngf=4",
    "model.generator.dropout=true", "model.nce_layers=[0,4,8,13]", "model.sampler.nc=8", "model.num_patches=32",
    "callbacks.quality.metrics={variation: {_target_: torchmetrics.image.TotalVariation, reduction: mean}}",
    "callbacks.best.monitor=val/variation",
)  # fmt: skip
"""It has no pairs whose figures `best` could follow."""

PIX2PIX = (
    "model=pix2pix", "data=paired", "model/generator=unet_128", "model.generator.num_downs=5",
    "model.generator.ngf=8", *PATCHES,
)  # fmt: skip

IN_SHARDS = (*PIX2PIX, "data/source=shards", "data.source.window=2", "data.cache=0")

MODELS = {
    "pix2pix": PIX2PIX,
    "shards": IN_SHARDS,
    "served": IN_SHARDS,
    "s3": IN_SHARDS,
    "cut": (*CUT, "model=cut"),
    "fastcut": (
        *CUT, "model=fastcut", "model/discriminator_augment=ada", "model.discriminator_augment.ramp_images=100",
        "model.discriminator_augment.target=-1",
    ),
    "cyclegan": (
        "model=cyclegan", "data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=2",
        "model.generator.ngf=4", "model.generator.dropout=true", "model.pool_size=10", "model/discriminator=several",
        "model.discriminator.discriminators.fine.ndf=8", "model.discriminator.discriminators.coarse.ndf=4",
        "model.discriminator.discriminators.coarse.n_layers=2", "model.discriminator.weights.coarse=0.5",
    ),
    "pix2pixhd": (
        "model=pix2pixhd", "data=paired", "model.generator.n_downsampling=2", "model.generator.n_blocks=1",
        "model.generator.ngf=4", *PATCHES,
    ),
}  # fmt: skip

FETCHED = ("served", "s3")
"""Those whose shards come from a server."""

IMAGES = 16


OF_NO_ONE = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_REGION": "us-east-1"}
"""Credentials for a store that asks for any."""


@contextmanager
def image_set(model: str, root: Path, store: str | None = None) -> Iterator[Path | str]:
    """The set that a model is trained on, for as long as the context lasts: a folder, or the address of a server.

    For `s3` it is copied to the address `store`, whose bucket is there and whose endpoint and credentials are in the
    environment; without one a server in this process answers.
    """
    folder = root / f"{model}-data"
    pairing: Pairing = "unpaired" if "data=unpaired" in MODELS[model] else "paired"
    SyntheticSet(n_train=IMAGES, n_test=2, size=64).write(folder, pairing)
    if "data/source=shards" not in MODELS[model]:
        yield folder
        return
    shards = root / f"{model}-served" / "set"
    shards.mkdir(parents=True)
    splits = {split: find_domains(Folders(folder), split, "paired") for split in get_args(Split)}
    ShardWriter(shards, shard_bytes=20_000).write(splits, True, lambda: None)
    if model == "shards":
        yield shards
        return
    if model == "s3" and store is not None:
        upload(shards, store)
        yield store
        return
    with serving(root) as server, pytest.MonkeyPatch.context() as patch:
        if model == "s3":
            for name, value in {**OF_NO_ONE, "AWS_ENDPOINT_URL": str(server)}.items():
                patch.setenv(name, value)
        yield f"s3://{shards.parent.name}/set" if model == "s3" else f"{server}/{shards.parent.name}/set"


def upload(folder: Path, store: str) -> None:
    """Copy the files of a folder into an object store."""
    from obstore.store import from_url  # here, because its threads should be in no process that is forked

    there: Any = from_url(store, client_options={"allow_http": True})
    for path in sorted(folder.iterdir()):
        there.put(path.name, path.read_bytes())


def start(model: str, data: Path | str, run: Path) -> Forked:
    words = [*MODELS[model], f"data.root={data}", *COMMON, f"hydra.run.dir={run}", "resume=auto"]
    if model in FETCHED:
        words.append(f"data.source.cache_dir={run}-cache")  # empty at first, so that it is killed while it fetches, too
    return Forked("train", *words, folder=run.parent)


def finish(model: str, data: Path | str, run: Path) -> str:
    """Let a run go to its end; what it printed."""
    process = start(model, data, run)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    return out


def kill(process: Forked) -> None:
    """SIGKILL to the training and its workers, as when a machine goes away."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kill_after(process: Forked, seconds: float) -> bool:
    """Kill after so many seconds; whether it was still running."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        return True
    return False


def wait_for_first_step(run: Path, process: Forked) -> None:
    while process.poll() is None and not (run / "checkpoints").is_dir():
        time.sleep(0.01)


def kill_while_writing(process: Forked, run: Path, after: int) -> bool:
    """Kill in the middle of the n-th checkpoint that is seen being written; whether that was possible."""
    left = {part.name for part in (run / "checkpoints").glob(".*.part")}  # by a kill before
    seen: set[int] = set()
    while process.poll() is None:
        for part in (run / "checkpoints").glob(".*.part"):
            with suppress(FileNotFoundError):
                if part.name not in left:
                    seen.add(part.stat().st_ino)
            if len(seen) > after:
                kill(process)
                return True
        time.sleep(0.0005)
    return False


def differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Where two nested structures differ; tensors are compared bit by bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            if key not in a or key not in b:
                yield f"{where}/{key} is in one only"
            else:
                yield from differences(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, pair in enumerate(zip(a, b, strict=True)):
            yield from differences(*pair, f"{where}/{i}")
    elif isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.dtype != b.dtype or not torch.equal(a, b):
            yield where
    elif a != b and not (a != a and b != b):
        yield f"{where}: {a!r} and {b!r}"


OWN = ("/patchlight/config", "/loggers/wandb_id")
"""What of a checkpoint names the run itself and how it was started."""


def compare(expected: Path, got: Path) -> list[str]:
    """Where two finished runs differ: the last checkpoint, the best one, metrics.csv."""
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        a, b = (torch.load(run / "checkpoints" / name, weights_only=True) for run in (expected, got))
        found += [f"{name}{place}" for place in differences(a, b) if not any(own in place for own in OWN)]
    tables = [(run / "metrics.csv").read_bytes().splitlines() for run in (expected, got)]
    if tables[0] != tables[1]:
        found.append(f"metrics.csv ({len(tables[0])} and {len(tables[1])} rows)")
    return found


def kill_once(
    model: str, data: Path | str, folder: Path, seconds: float, rng: random.Random, moment: int
) -> str | None:
    """Begin a run, or go on with it, and kill it within so many seconds or, each fourth time, while it writes.

    Returns:
        When it was killed; None if it was over before.
    """
    process = start(model, data, folder)
    if moment % 4 == 3:
        killed = kill_while_writing(process, folder, after=rng.randrange(5))
        return "while writing" if killed else None
    wait_for_first_step(folder, process)
    after = rng.uniform(0, seconds)
    return f"{after:.2f} s after the first checkpoint" if kill_after(process, after) else None


def kill_and_resume(
    model: str, data: Path | str, folder: Path, duration: float, rng: random.Random, moments: Sequence[int]
) -> str:
    """Kill a run once for each moment, one after the other, and let it go to its end; says what was done."""
    for _ in range(10):
        told = [kill_once(model, data, folder, duration / len(moments), rng, moment) for moment in moments]
        if None not in told:
            break
        shutil.rmtree(folder)  # it was over before: once more
    else:
        raise AssertionError("the run was always over before it could be killed")
    printed = finish(model, data, folder)
    resumed = next((line for line in printed.splitlines() if line.startswith("going on")), "began anew")
    return f"{', '.join(map(str, told))}; {resumed}"


def main() -> None:
    """Count how many kills leave no trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills of each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument(
        "--store", help="address for the model s3, s3://BUCKET/..., with AWS_ENDPOINT_URL and so on set"
    )
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for model in arguments.models:
            with image_set(model, root, arguments.store) as data:
                kill_often(model, data, root, arguments.times, rng)


def kill_often(model: str, data: Path | str, root: Path, times: int, rng: random.Random) -> None:
    """Kill so many runs of a model, each once, and print what became of them; ends the process unless all is well."""
    duration = reference(model, data, root / f"{model}-alone")
    good = 0
    for moment in range(times):
        folder = root / f"{model}-{moment}"
        how = kill_and_resume(model, data, folder, duration, rng, [moment])
        found = compare(root / f"{model}-alone", folder)
        good += not found
        print(f"{model} {moment + 1:>3}: {'same bits' if not found else found[:5]} ({how})", flush=True)
        shutil.rmtree(folder)
    print(f"{model}: {good} of {times}", flush=True)
    if good < times:
        raise SystemExit(1)


def reference(model: str, data: Path | str, run: Path) -> float:
    """A run left alone; for how many seconds it went on after its first checkpoint."""
    process = start(model, data, run)
    wait_for_first_step(run, process)
    began = time.monotonic()
    while process.poll() is None and not (run / "metrics.json").is_file():
        time.sleep(0.02)
    duration = time.monotonic() - began
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    return duration * 0.9


if __name__ == "__main__":
    main()
