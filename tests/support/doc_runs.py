"""Running what the pages say on tiny settings: a reader's folder, and what is added to a command to make it short.

Commands run in this process, one after the other as they stand on a page, in one folder, so that later ones find what
earlier ones left. What a page takes for granted, images at `DIR` or a run at `RUN`, is there as links to small sets and
runs that are made once. Sweeps are cut to two jobs; that all their values are right, `test_blocks.py` checks.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from label_sets import write_label_set
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from archives_of import zip_of
from commands import call_main
from doc_blocks import REPOSITORY, Command
from patchlight.config.command_line import FREE_MAPPINGS, read_command_line, swept_keys, with_free_keys
from patchlight.data import SyntheticSet
from patchlight.example import EXAMPLE
from site_reference import COMMANDS

SIDE = 64
"""Pixels of all images."""

ALWAYS = {
    "data.image_size": SIDE, "data.load_size": SIDE, "data.num_workers": 0, "data.val_size": 1,
    "data.render.n_train": 8, "data.render.n_test": 3, "data.render.size": SIDE, "model.generator.ngf": 4,
    "model.generator.num_downs": 6, "model.generator.n_blocks": 1, "model.discriminator.ndf": 4,
    "trainer.limit_train_batches": 1, "trainer.limit_val_batches": 1, "trainer.limit_test_batches": 1,
    "callbacks.samples.n_images": 1, "callbacks.patch_maps.n_images": 1, "trainer.max_epochs": 1,
}  # fmt: skip
"""Keys that make a training tiny, whatever the command says, where its configuration has them."""

NOT_RUN = {
    "installs packages": re.compile(r"pip |make install"),
    "makes an environment of its own, for what other tests run": re.compile(r"make |\. "),
    "measures for minutes, and is tested in tests/benchmarking": re.compile(r"patchlight-bench"),
    "needs weights that are downloaded": re.compile(r".*(lpips=true|\[lpips|\[perceptual|feature=inception)"),
}
"""Why some commands are not run although their block has no mark, by how they begin."""


def why_not(command: Command) -> str | None:
    """Why a command is not run, or None of one that is."""
    block = command.block
    if block.reason or block.test:
        return block.reason or f"run by {block.test}"
    line = " ".join(command.words)
    return next((reason for reason, pattern in NOT_RUN.items() if pattern.match(line)), None)


def cut_sweep(words: list[str]) -> list[str]:
    """The words of a sweep with two values of the first key that has several, and one of all others."""
    swept = swept_keys([word for word in words if not word.startswith("-") and "=" in word])
    n, cut = 2, []
    for word in words:
        key, _, values = word.partition("=")
        if key in swept:
            word, n = f"{key}={','.join(values.split(',')[:n])}", 1
        cut.append(word)
    if "sweep=patch_size" in words:
        cut.append(f"model/discriminator={','.join(['pixel', 'patch34'][:n])}")
    return cut


def tiny(words: list[str], cfg: DictConfig) -> list[str]:
    """What is added to the words of a training, whose configuration they make, to make it short."""
    values: dict[str, Any] = dict(ALWAYS)
    if str(cfg.model.generator._target_).endswith("GlobalGenerator"):
        values["model.generator.ngf"] = 8  # twice that of the enhancer that begins with it
    if "data=single" in words:
        del values["data.val_size"]  # an image of each domain is all there is
    if "resume=auto" in words and any("n_epochs" in word for word in words):
        values["trainer.max_epochs"] = 2  # a run that goes on
    added = [f"{key}={value}" for key, value in values.items() if has_key(cfg, key)]
    chosen = {word.partition("=")[0] for word in words}
    groups = {"trainer": "cpu", "logger": "csv"}
    return added + [f"{group}={choice}" for group, choice in groups.items() if group not in chosen]


def has_key(cfg: DictConfig, key: str) -> bool:
    """Whether a configuration has a key, `a.b.c`, with whatever value."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent)
    return isinstance(node, DictConfig) and name in node


@dataclass
class Shelf:
    """What readers have before they begin: images, and finished runs of both kinds; made once, when asked for."""

    root: Path
    made: dict[str, Path] = field(default_factory=dict)

    def get(self, name: str) -> Path:
        """The path of a thing by the name of the method below that makes it."""
        if name not in self.made:
            path = self.root / name
            getattr(self, f"_{name}")(path)
            self.made[name] = path
        return self.made[name]

    def serve(self, words: list[str]) -> int:
        """Start the demo's page in a process of its own, once for each command line, and end it when it is up."""
        name = f"demo {' '.join(words)}"
        if name not in self.made:
            command = [sys.executable, "-m", "patchlight", "demo", *words, "device=cpu"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
                assert page.stdout is not None
                first = page.stdout.readline()
                page.terminate()
            assert first.startswith("Patchlight's page: http://127.0.0.1:")
            self.made[name] = self.root
        return 0

    def _paired(self, path: Path) -> None:
        SyntheticSet(n_train=8, n_test=3, size=SIDE).write(path, "paired")

    def _unpaired(self, path: Path) -> None:
        SyntheticSet(n_train=8, n_test=3, size=SIDE).write(path, "unpaired")

    def _data(self, path: Path) -> None:
        """The folder `data` of experiments; built-in sets are rendered into it."""
        path.mkdir()
        for name, pairing in (("facades", "paired"), ("shoes", "paired"), ("horse2zebra", "unpaired")):
            (path / name).symlink_to(self.get(pairing))

    def _labels(self, path: Path) -> None:
        write_label_set(path, side=SIDE, instances=True)

    def _scenes(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        for split in ("train", "val", "test"):
            for domain, bands, top, kind in (("A", 4, 10000, np.uint16), ("B", 1, 300, np.float32)):
                folder = path / f"{split}{domain}"
                folder.mkdir(parents=True)
                for i in range(2):
                    np.save(folder / f"{i}.npy", (rng.random((SIDE, SIDE, bands)) * top).astype(kind))

    def _pictures(self, path: Path) -> None:
        path.mkdir()
        for i, picture in enumerate(sorted((self.get("unpaired") / "testA").iterdir())[:2]):
            Image.open(picture).save(path / f"{i}.jpg")

    def _files(self, path: Path) -> None:
        """The set of pairs as a table of paths, columns of Parquet, and an archive."""
        pairs = self.get("paired")
        path.mkdir()
        rows = []
        for split in ("train", "test"):
            for pair in sorted((pairs / split).iterdir()):
                both, names = np.asarray(Image.open(pair)), {d: f"{split}-{pair.stem}-{d}.png" for d in "ab"}
                Image.fromarray(both[:, :SIDE]).save(path / names["a"])
                Image.fromarray(both[:, SIDE:]).save(path / names["b"])
                rows.append({**names, "split": split})
        listed = pd.DataFrame(rows)
        listed.to_csv(path / "pairs.csv", index=False)
        (path / "table").mkdir()
        for split, part in listed.groupby("split"):
            images = {
                name: [(path / file).read_bytes() for file in part[d]] for name, d in (("label", "a"), ("photo", "b"))
            }
            pd.DataFrame(images).to_parquet(path / "table" / f"{split}-00000-of-00001.parquet")
        files = {file.relative_to(pairs).as_posix(): file.read_bytes() for file in pairs.rglob("*.*")}
        (path / "facades.zip").write_bytes(zip_of(files))

    def _pix2pix(self, path: Path) -> None:
        self._train(path, "data=synthetic", "model=pix2pix", "model/generator=unet_256")

    def _cyclegan(self, path: Path) -> None:
        self._train(path, "data=synthetic_unpaired", "model=cyclegan")

    def _train(self, path: Path, *words: str) -> None:
        given = [*words, f"paths.data_dir={self.get('data')}", f"hydra.run.dir={path}"]
        command = read_command_line(given, "train")
        assert command is not None
        assert call_main("train", *given, *tiny(given, command.configs[0])) == 0

    def _reference(self, path: Path) -> None:
        """Folders of checkpoints as the reference code names them."""
        for kind in ("pix2pix", "cyclegan"):
            ckpt = self.get(kind) / "checkpoints" / "last.ckpt"
            assert call_main("export", f"ckpt={ckpt}", f"output={path / kind}", "format=reference") == 0
        shutil.copytree(path / "pix2pix", path / "facades_pix2pix")
        (path / "horse2zebra").mkdir()
        shutil.copy(path / "pix2pix" / "latest_net_G.pth", path / "horse2zebra")
        (path / "maps_cyclegan").mkdir()
        for file in (path / "cyclegan").glob("latest_*.pth"):
            shutil.copy(file, path / "maps_cyclegan" / file.name.replace("latest", "150"))


@dataclass
class Reader:
    """Somebody who goes through a page in an empty folder, beside a checkout's files."""

    folder: Path
    shelf: Shelf
    patch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.patch.chdir(self.folder)
        for name in ("examples", "configs"):
            self.link(name, REPOSITORY / name)
        # It writes its picture beside itself.
        (self.folder / "docs" / "images").mkdir(parents=True)
        shutil.copy(REPOSITORY / "docs" / "plot_health.py", "docs")
        self.link("data", self.shelf.get("data"))

    def link(self, name: str, target: Path) -> None:
        """Put something where a page takes it for granted; what an earlier command left stays."""
        path = self.folder / name
        if path.is_symlink():
            path.unlink()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)

    def run(self, command: Command) -> int:
        """Run a command on tiny settings; its exit status."""
        assert command.patchlight is not None
        verb, words = command.patchlight
        if verb == "train":
            return call_main("train", *self.prepare_training(words))
        for word in words:
            self.provide(word, " ".join(words))
        return self.shelf.serve(words) if verb == "demo" else call_main(COMMANDS[verb], *words)

    def prepare_training(self, words: list[str]) -> list[str]:
        """The words of a training with what makes it tiny, once its images are in their place."""
        given = cut_sweep(with_free_keys(words, FREE_MAPPINGS))
        command = read_command_line(given, "train")
        assert command is not None
        cfg = command.configs[0]
        self.provide_images(cfg)
        for word in words:
            if word.startswith("init_from="):
                self.provide(word, "")
        return [*given, *tiny(given, cfg)]

    def provide_images(self, cfg: DictConfig) -> None:
        """Images of the kind that a training reads, at the place that it names."""
        source = str(OmegaConf.select(cfg, "data.source._target_") or "").rpartition(".")[2]
        root = OmegaConf.select(cfg, "data.root")
        kinds: dict[str, Callable[[], Path]] = {
            "Manifest": lambda: self.shelf.get("files"),
            "Table": lambda: self.shelf.get("files") / "table",
            "Archive": lambda: self.shelf.get("files") / "facades.zip",
        }
        if source == "SinglePair":
            for key in ("a", "b"):
                self.link(cfg.data.source[key], self.shelf.get("pictures") / "0.jpg")
        elif source == "Manifest":
            self.link(str(Path(root).parent), kinds[source]())
        elif source in kinds:
            self.link(root, kinds[source]())
        elif root is not None and not str(root).startswith("data/"):
            self.link(root, self.shelf.get(set_of(cfg)))

    def provide(self, word: str, line: str) -> None:
        """What a word of another command than the training names, unless it is there."""
        key, _, value = word.partition("=")
        kind = "cyclegan" if "direction=BtoA" in line else "pix2pix"
        match key:
            case "ckpt" | "input" if value == EXAMPLE:
                pass  # comes with the package
            case "ckpt" | "init_from" if "RUN" in value or not Path(value).exists():
                self.link(Path(value).parts[0] if "RUN" in value else str(Path(value).parents[1]), self.shelf.get(kind))
            case "data":
                self.link(value, self.shelf.get("scenes" if "depth_a=" in line else "paired"))
            case "runs":
                for folder in value.strip("[]").split(","):
                    if not Path(folder).exists():
                        self.link(folder, self.shelf.get("pix2pix"))
            case "input" if value.startswith("checkpoints/"):
                self.link("checkpoints", self.shelf.get("reference"))
            case "input" if value.endswith(".tif"):
                Image.open(self.shelf.get("pictures") / "0.jpg").save(value)
            case "input":
                self.link(Path(value).parts[0], self.shelf.get("pictures"))


def set_of(cfg: DictConfig) -> str:
    """The set of the shelf that a training can be done with."""
    if OmegaConf.select(cfg, "data.n_classes"):
        return "labels"
    if OmegaConf.select(cfg, "data.depth_a") == "uint16":
        return "scenes"
    return str(cfg.data.pairing)
