"""Every source of images through every command, as docs/data.md says in its table."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from source_sets import (
    Files,
    encoded_pairs,
    write_arrow,
    write_csv,
    write_folders,
    write_manifest_parquet,
    write_parquet,
    write_shards,
    write_tar,
    write_zip,
)

import patchlight
from commands import Typed, call_main
from forked import Forked, run_forked
from killing import differences

SMALL = (
    "model=pix2pix", "model/generator=unet_128", "model.generator.num_downs=3", "model.generator.ngf=4",
    "model.generator.norm=instance", "model.generator.dropout=false", "model.discriminator.norm=instance",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "model/optimizer=sgd", "model.schedule.n_epochs=2",
    "model.schedule.n_epochs_decay=1", "data.load_size=20", "data.image_size=16", "data.num_workers=0",
    "data.val_size=3", "logger=csv", "trainer.precision=64-true", "trainer.log_every_n_steps=1",
    "callbacks.patch_maps=null",
)  # fmt: skip
"""Three epochs of two batches."""

ONE = ("trainer=cpu", "data.batch_size=2")
TRANSLATE = ("device=cpu", "precision=32-true", "batch_size=1", "format=png")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=1")


def write_domain_folders(files: Files, root: Path) -> Path:
    return write_folders({re.sub(r"^(\w+)([AB])/", r"\2/\1/", name): files[name] for name in files}, root)


def write_side_by_side(files: Files, root: Path) -> Path:
    of_b = {Path(name).with_suffix(""): content for name, content in files.items() if "B/" in name}
    for name, content in files.items():
        if "A/" in name:
            path = Path(name.replace("A/", "/"))
            halves = [content, of_b[Path(name.replace("A/", "B/")).with_suffix("")]]
            pixels = [np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(half)))) for half in halves]
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.hstack(pixels)).save((root / path).with_suffix(".png"))
    return root


class Source(NamedTuple):
    """A kind of source, with what a training is told of it beside its root."""

    write: Callable[[Files, Path], Path]
    kind: str = "folders"
    words: tuple[str, ...] = ()
    translated: str = "A"
    """What `input=` stands for: the images of domain A, all of both, or `files` with two each."""


SOURCES = {
    "folders": Source(write_folders, translated="AB"),
    "A/train": Source(write_domain_folders, translated="AB"),
    "side by side": Source(write_side_by_side, translated="files"),
    "csv": Source(write_csv, "manifest"),
    "parquet of paths": Source(write_manifest_parquet, "manifest"),
    "parquet": Source(write_parquet, "table"),
    "arrow": Source(write_arrow, "table"),
    "zip": Source(write_zip, "archive", translated="AB"),
    "tar": Source(write_tar, "archive", translated="AB"),
    "shards": Source(write_shards, "shards", ("data.source.window=2",)),
}


@pytest.fixture(scope="module")
def files() -> Files:
    return encoded_pairs()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, finished: Callable[..., Path], files: Files) -> Path:
    """The run of a training on folders; `out` beside it is what its generator makes of their images."""
    root = write_folders(files, tmp_path_factory.mktemp("folders"))
    run = finished(*SMALL, *ONE, "data=paired", f"data.root={root}")
    assert call_main("translate", *TRANSLATE, f"ckpt={last(run)}", f"input={root}", f"output={run.parent / 'out'}") == 0
    return run


def pictures(paths: Iterable[Path]) -> list[tuple[tuple[int, int], bytes]]:
    """Sizes and pixels of images, in any order."""
    found = []
    for path in paths:
        with Image.open(path) as image:
            found.append((image.size, image.tobytes()))
    return sorted(found)


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def saved(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(last(run), weights_only=True)
    return content


def assert_trains(typed: Typed, words: tuple[str, ...], whole: Path, two_ranks: tuple[str, ...] = ()) -> None:
    """Stopped within an epoch, resumed, and on two ranks it ends as the run `whole`, which is evaluated, too."""
    for more in ("trainer.max_steps=3", "resume=auto"):
        outcome = typed("train", *SMALL, *ONE, *words, "hydra.run.dir=stopped", more)
        assert outcome.status == 0, outcome.err
    assert "going on" in outcome.out
    wanted, stopped = saved(whole), saved(Path("stopped"))
    assert wanted["global_step"] == stopped["global_step"] == 6
    for key in ("state_dict", "optimizer_states"):
        assert not list(differences(wanted[key], stopped[key], key))
    figures, again = (json.loads((run / "metrics.json").read_text())["last"] for run in (whole, Path("stopped")))
    assert figures == again

    run_forked("train", *SMALL, *TWO, *words, *two_ranks, "hydra.run.dir=two", folder=Path.cwd(), spares=1)
    two = saved(Path("two"))["state_dict"]
    for name, value in wanted["state_dict"].items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-12)

    outcome = typed("evaluate", "ckpt=stopped/checkpoints/last.ckpt", "output=evaluated", "num_workers=0")
    assert outcome.status == 0, outcome.err
    measured = json.loads(Path("evaluated/metrics.json").read_text())["ckpt"]["figures"]
    assert measured == pytest.approx(figures, rel=1e-4)  # in float32, and in float64 after the training


# Three trainings, of which one is on two ranks, then every other command.
@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_every_command_on_every_source(
    name: str, files: Files, expected: Path, typed: Typed, tmp_path: Path
) -> None:  # fmt: skip
    source = SOURCES[name]
    (tmp_path / "own").mkdir()
    root = source.write(files, tmp_path / "own")
    words = ("data=paired", f"data/source={source.kind}", f"data.root={root}", *source.words)
    whole = expected
    if name == "shards":  # whose order is another
        assert typed("train", *SMALL, *ONE, *words, "hydra.run.dir=whole").status == 0
        whole = tmp_path / "whole"
    assert_trains(typed, words, whole)

    outcome = typed("translate", *TRANSLATE, f"ckpt={last(expected)}", f"input={root}", "output=out")
    assert (outcome.status, outcome.err) == (0, "")
    made = pictures(Path("out").rglob("*.png"))
    if source.translated == "files":
        assert [size for size, _ in made] == [size for size, _ in pictures(root.rglob("*.png"))]
        assert len(made) == 10
    else:
        others = [path for domain in source.translated for path in (expected.parent / "out").glob(f"*{domain}/*.png")]
        assert len(others) == 10 * len(source.translated)
        assert made == pictures(others)

    outcome = typed("doctor", f"data={root}", "output=doctor", "workers=1")
    assert outcome.err == ""
    report = json.loads(Path("doctor/report.json").read_text())
    assert report["pairing"] == "paired"
    assert report["images"] == {"train": {"A": 7, "B": 7}, "test": {"A": 3, "B": 3}}
    assert report["files"] == (10 if source.translated == "files" else 20)


# As above.
@pytest.mark.slow
def test_every_command_on_a_single_pair(files: Files, typed: Typed, tmp_path: Path) -> None:
    for domain in "AB":
        (tmp_path / f"{domain}.png").write_bytes(files[f"train{domain}/01.png"])
    words = (
        "data=single", "data.source.a=A.png", "data.source.b=B.png", "data.repeat=4", "data.pairing=paired",
        "data.val_size=0",
    )  # fmt: skip
    assert typed("train", *SMALL, *ONE, *words, "hydra.run.dir=whole").status == 0
    assert_trains(typed, words, tmp_path / "whole", ("trainer.limit_test_batches=0",))
    refused = Forked("train", *SMALL, *TWO, *words, folder=tmp_path, spares=1)
    _, complaints = refused.communicate(timeout=1200)
    assert refused.returncode == 1
    assert "data: to test on, 1 image does not give each of 2 ranks one" in complaints
    ckpt = last(tmp_path / "whole")
    outcome = typed("translate", *TRANSLATE, f"ckpt={ckpt}", "input=A.png", "output=out")
    assert (outcome.status, outcome.err) == (0, "")
    with Image.open("A.png") as image, Image.open("out/A.png") as result:
        assert np.array_equal(np.asarray(result), patchlight.load(ckpt, device="cpu")(np.asarray(image)))
    outcome = typed("doctor", "data=A.png")
    assert outcome.status == 1
    assert outcome.err == "patchlight-doctor: data=A.png is not a folder: give the folder of the image set\n"
