"""Every folder of `examples/` as its user would use it: train, resume, two ranks, evaluate, translate, export, report.

An example is one module and one YAML file. The file's comments hold the commands: `# patchlight-train --config-dir
examples/NAME ...`, and where another command needs more than is given here, a line of that one. A new example is a new
folder; nothing is added here.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from forked import run_forked
from killing import differences
from patchlight import __main__ as entry
from patchlight.config.command_line import check_command_line
from patchlight.data import SyntheticSet
from patchlight.system.job_record import VARIABLE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

LONGEST = 40
"""Lines of a module, and of a YAML file."""

COMMON = (
    "data.image_size=32", "data.load_size=36", "data.num_workers=0", "data.val_size=2", "data.cache=0", "logger=csv",
    "trainer=cpu", "trainer.log_every_n_steps=1", "model.schedule.n_epochs=2", "model.schedule.n_epochs_decay=0",
    "callbacks.patch_maps.n_images=2", "callbacks.patch_maps.n_scored=2", "callbacks.patch_maps.every_n_validations=2",
    "callbacks.health.n_images=2", "seed=0",
)  # fmt: skip

RENDERED = {"n_train": 6, "n_test": 3, "size": 64}
"""Of which 4 are left for training, so that an epoch has as many batches."""

SMALL: dict[str, dict[str, object]] = {
    "patchlight.networks.UNetGenerator": {"num_downs": 3, "ngf": 4},
    "patchlight.networks.ResNetGenerator": {"n_blocks": 1, "ngf": 4},
    "patchlight.networks.PatchDiscriminator": {"ndf": 4, "n_layers": 1},
}
"""The package's own networks in a size for tests; an example's are as its file has them, but for `ngf` and `ndf`."""

Patchlight = Callable[..., str]


@dataclass(frozen=True)
class Example:
    """One folder: its files, and what its comments add to each command."""

    name: str
    code: Path
    config: Path
    arguments: dict[str, list[str]]

    @classmethod
    def read(cls, name: str) -> Example:
        folder = EXAMPLES / name
        (code,), (config,) = folder.rglob("*.py"), folder.rglob("*.yaml")
        commands = [
            line.removeprefix("# patchlight-").split()
            for line in config.read_text(encoding="utf-8").splitlines()
            if line.startswith("# patchlight-")
        ]
        arguments = {verb: words for verb, *words in commands}
        assert arguments["train"][:2] == ["--config-dir", f"examples/{name}"], f"{config} begins with its command"
        return cls(name, code, config, {**arguments, "train": [f"--config-dir={folder}", *arguments["train"][2:]]})

    def training(self, root: Path) -> list[str]:
        """What `patchlight-train` is given: the example's choices, the images in `root`, and everything small."""
        chosen = self.arguments["train"]
        (cfg,) = check_command_line(chosen, "train")
        rendered = cfg.data.get("render") is not None
        data = [f"data.render.{key}={value}" for key, value in RENDERED.items()] if rendered else []
        data += [f"data.root={root / cfg.data.pairing}"] if "root" in cfg.data else []
        return [*chosen, *COMMON, *data, *_small(cfg)]


def _small(cfg: DictConfig) -> list[str]:
    """The overrides that make networks small."""
    nodes = {key: node for key, node in cfg.model.items() if isinstance(node, DictConfig) and "_target_" in node}
    found = []
    for key, node in nodes.items():
        widths = {width: 4 for width in ("ngf", "ndf") if width in node}
        found += [f"model.{key}.{name}={value}" for name, value in (widths | SMALL.get(node["_target_"], {})).items()]
    return found


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a paired and an unpaired set; in the first, `pairs.csv` makes pairs of the files of the other."""
    root = tmp_path_factory.mktemp("images")
    for pairing in ("paired", "unpaired"):
        SyntheticSet(**RENDERED).write(root / pairing, pairing)
    with (root / "paired" / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["a", "b", "split"])
        for split in ("train", "test"):
            a, b = (sorted((root / "unpaired" / f"{split}{domain}").iterdir()) for domain in ("A", "B"))
            pairs = zip(a, b, strict=True)
            table.writerows([*(f"../{p.relative_to(root).as_posix()}" for p in pair), split] for pair in pairs)
    return root


@pytest.fixture
def patchlight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Patchlight]:
    """Runs a command in this process and an empty folder: what it printed, or its message where it fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(verb: str, *arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["patchlight", verb, *arguments])
        capsys.readouterr()
        ended = 0
        try:
            entry.main()
        except SystemExit as stop:
            ended = stop.code if isinstance(stop.code, int) else 1
        printed = capsys.readouterr()
        assert ended == status, printed.err
        return printed.err if status else printed.out

    return run


NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def test_each_is_short() -> None:
    assert NAMES
    for example in map(Example.read, NAMES):
        for path in (example.code, example.config):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST, path


# Slow: two trainings, and a command that reads what they leave; the others follow the two ranks below.
@pytest.mark.untraced
@pytest.mark.parametrize("name", NAMES)
def test_example(name: str, patchlight: Patchlight, images: Path) -> None:
    example = Example.read(name)
    training = [*example.training(images), "callbacks.patch_maps=null"]  # of which those on two ranks have pictures
    patchlight("train", *training, "hydra.run.dir=runs/alone", "trainer.max_steps=6")
    assert_files(Path("runs/alone"))
    stopped_after_an_epoch(Path("runs/alone"), Path("runs/resumed"))
    first = torch.load("runs/resumed/checkpoints/last.ckpt", weights_only=True)
    out = patchlight("train", *training, "hydra.run.dir=runs/resumed", "trainer.max_steps=6", "resume=auto")
    assert "going on from last.ckpt, batch 4" in out
    assert first["global_step"] == 4
    assert_same_training(Path("runs/alone"), Path("runs/resumed"))

    ckpt = "ckpt=runs/alone/checkpoints/last.ckpt"
    refused = patchlight("export", ckpt, "output=refused.safetensors", status=1)
    assert f"{example.code.stem}." in refused
    assert "Give trust=true" in refused
    more = [*example.arguments.get("translate", ()), "trust=true"]
    shutil.copy(next((images / "paired" / "test").glob("*.png")), "picture.png")
    patchlight("translate", ckpt, "input=picture.png", "output=translated", "patchmap=true", *more)
    with Image.open("picture.png") as source, Image.open("translated/picture.png") as output:
        assert output.size == source.size
        assert np.asarray(output).std() > 0
    assert Path("translated/picture_patchmap.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_example_on_two_ranks(name: str, patchlight: Patchlight, images: Path) -> None:
    """The second rank finds the module, too, after what is installed; eval, report and export read what both leave.

    The ranks of the first example are started as a user's are; those of the others are forked.
    """
    example = Example.read(name)
    Path("omegaconf.py").write_text("raise SystemExit('this is not the library')")
    command = (
        "train", *example.training(images), "hydra.run.dir=run", "trainer.max_steps=4", "trainer=ddp",
        "trainer.accelerator=cpu", "trainer.devices=2",
    )  # fmt: skip
    run_forked(*command, folder=Path.cwd(), spares=int(name != NAMES[0]))
    saved = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert len(saved["ranks"]) == 2
    assert (saved["global_step"], saved["images_seen"]) == (4, 8)
    assert_files(Path("run"))
    checkpoint = (example.arguments["train"][0], "ckpt=run/checkpoints/last.ckpt", "trust=true")
    patchlight("eval", *checkpoint, "output=evaluated", *example.arguments.get("eval", ()))
    measured = json.loads(Path("evaluated/metrics.json").read_text())["ckpt"]["figures"]
    assert measured == pytest.approx(figures(Path("run")), rel=1e-5)

    patchlight("report", "runs=run", "output=report")
    with Path("report/table.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert {name: float(row[f"{name}_mean"]) for name in measured} == pytest.approx(figures(Path("run")))

    more = example.arguments.get("export", ())
    patchlight("export", *checkpoint, "output=model.pt2", "speed=false", *more)
    assert Path("model.pt2").stat().st_size > 0


def stopped_after_an_epoch(run: Path, copy: Path) -> None:
    """Copy a run as it is left where it is killed after its first checkpoint, that of an epoch of 4 batches."""
    shutil.copytree(run, copy)
    for path in (copy / "checkpoints").iterdir():
        if path.name != "previous.ckpt":
            path.unlink()
    (copy / "checkpoints/previous.ckpt").rename(copy / "checkpoints/last.ckpt")


TRAINED = ("state_dict", "optimizer_states", "lr_schedulers", "ranks", "global_step", "epoch")
"""The parts of a checkpoint that decide how training goes on; others count validations, of which a stop adds one."""


def assert_same_training(expected: Path, got: Path) -> None:
    """See that two runs have trained to the same bits, and logged the same."""
    a, b = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (expected, got))
    assert list(differences({key: a[key] for key in TRAINED}, {key: b[key] for key in TRAINED})) == []
    tables = []
    for run in (expected, got):
        with (run / "metrics.csv").open(newline="") as file:
            rows = [{key: row[key] for key in row if key.startswith("train/")} for row in csv.DictReader(file)]
        tables.append([row for row in rows if any(row.values())])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 6
    assert figures(expected) == figures(got)


def assert_files(run: Path) -> None:
    """See that a run has left what every run does, and that no figure is infinite or not a number."""
    for path in ("config.yaml", "manifest.json", "metrics.json", "checkpoints/best.ckpt"):
        assert (run / path).is_file(), path
    assert len(list((run / "samples").glob("step_*.png"))) >= 2
    with (run / "metrics.csv").open(newline="") as file:
        values = [float(text) for row in csv.DictReader(file) for text in row.values() if text]
    assert len(values) > 30
    assert np.isfinite(values).all()


def figures(run: Path) -> dict[str, float]:
    """The test of a run's last weights."""
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    figures: dict[str, float] = found["last"]
    return figures


def test_the_page_shows_every_file_as_it_is() -> None:
    spec = importlib.util.spec_from_file_location("include_examples", EXAMPLES.parent / "docs/include_examples.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.with_files(page) == page, "run docs/include_examples.py"
    for example in map(Example.read, NAMES):
        for path in (example.code, example.config):
            assert f"<!-- {path.relative_to(EXAMPLES.parent).as_posix()} -->" in page
