"""The data module: from folders of images to batches, on any number of workers and ranks."""

from __future__ import annotations

import hashlib
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from patchlight.data.augment import Augment
from patchlight.data.datasets import Direction, PairedDataset, Processing, Sample, UnpairedDataset, collate
from patchlight.data.folders import Domains, Layout, Pairing, Source, cut_validation, find_split, require_root
from patchlight.data.image_io import Channels
from patchlight.data.sampling import EpochSampler
from patchlight.data.synthetic import SyntheticSet
from patchlight.data.transforms import Geometry, Preprocess, Size
from patchlight.errors import DataError

Split = Literal["train", "val", "test"]


class ImageDataModule(LightningDataModule):
    """Batches of a paired or unpaired image set: `A`, `B` (B C H W, float32, [-1, 1]), `A_path`, `B_path`.

    The randomness of a sample is a function of (seed, epoch, index): the same for any number of workers and ranks.
    Where there is no validation split, `val_size` images are cut from the training split, by seed. Sizes are pixels,
    one number or [height, width]. `size_multiple` and `min_size` are what the networks ask of images. With `render`,
    the built-in set is rendered into `root` at first use.

    Raises:
        DataError: a value out of range, by its key; in `setup`, everything about files that can be known from names.
    """

    def __init__(
        self,
        root: str | Path,
        pairing: Pairing,
        layout: Layout = "auto",
        direction: Direction = "AtoB",
        channels_a: Channels = 3,
        channels_b: Channels = 3,
        preprocess: Preprocess = "resize_and_crop",
        load_size: int | list[int] = 286,
        image_size: int | list[int] = 256,
        flip: bool = True,
        augment: Augment | None = None,
        batch_size: int = 1,
        eval_batch_size: int = 1,
        num_workers: int = 2,
        pin_memory: bool | None = None,
        val_size: int = 16,
        max_train: int | None = None,
        max_eval: int | None = None,
        seed: int = 0,
        size_multiple: int = 1,
        min_size: int = 1,
        render: SyntheticSet | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.render = render
        self.pairing: Pairing = pairing
        self.layout: Layout = layout
        for name, value, choices in (
            ("pairing", pairing, Pairing), ("layout", layout, Layout), ("direction", direction, Direction),
            ("channels_a", channels_a, Channels), ("channels_b", channels_b, Channels),
            ("preprocess", preprocess, Preprocess),
        ):  # fmt: skip
            _one_of(name, value, get_args(choices))
        self.batch_sizes = {"train": _positive("batch_size", batch_size)}
        self.batch_sizes |= dict.fromkeys(("val", "test"), _positive("eval_batch_size", eval_batch_size))
        self.num_workers = _at_least("num_workers", num_workers, 0)
        self.pin_memory = pin_memory
        self.val_size = _at_least("val_size", val_size, 0)
        self.max_train = None if max_train is None else _positive("max_train", max_train)
        self.max_eval = None if max_eval is None else _positive("max_eval", max_eval)
        self.seed = _at_least("seed", seed, 0)
        load, size = _size("load_size", load_size), _size("image_size", image_size)
        too_low = preprocess == "resize_and_crop" and load[0] < size[0]
        if too_low or (preprocess in ("resize_and_crop", "scale_width_and_crop") and load[1] < size[1]):
            raise DataError(
                f"data.load_size={load_size} is smaller than data.image_size={image_size}, so there is nothing to crop "
                f"from: make it at least as large"
            )
        if "crop" in preprocess:
            _check_fit(size, size_multiple)
        self._processing = Processing(
            geometry=Geometry(preprocess, load, size, flip), augment=augment, channels_a=channels_a,
            channels_b=channels_b, direction=direction, seed=seed, size_multiple=size_multiple, min_size=min_size,
        )  # fmt: skip
        self._splits: dict[str, Domains] = {}
        self._begin = (0, 0)
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer images to evaluate than ranks

    def prepare_data(self) -> None:
        if self.render is not None:
            self.render.write(self.root, self.pairing)

    def setup(self, stage: str | None = None) -> None:
        if self._splits:
            return
        require_root(self.root, self.pairing, self.layout)
        train, val, test = (
            find_split(self.root, split, self.pairing, self.layout) for split in ("train", "val", "test")
        )
        if not len(val):
            train, val = cut_validation(train, self.val_size, self.seed, paired=self.pairing == "paired")
        self._splits = {
            "train": _first(train, self.max_train),
            "val": _first(val, self.max_eval),
            "test": _first(test, self.max_eval),
        }

    def train_dataloader(self) -> DataLoader[Sample]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        return self._loader("val") if len(self._splits["val"]) else []

    def test_dataloader(self) -> DataLoader[Sample] | list[Any]:
        return self._loader("test") if len(self._splits["test"]) else []

    def begin_at(self, epoch: int, images: int) -> None:
        """Let training begin in this epoch, after so many of its images, those of all ranks counted."""
        self._begin = (epoch, images)

    @property
    def val_paths(self) -> list[Path]:
        """The files of domain A that validation reads."""
        return [source.path for source in self._splits["val"].a]

    @property
    def test_paths(self) -> list[Path]:
        """The files of domain A that the test reads."""
        return [source.path for source in self._splits["test"].a]

    def describe(self) -> dict[str, Any]:
        """Where the images are and how many there are in each split, in plain types."""
        counts = {split: {"A": len(d.a), "B": len(d.b)} for split, d in self._splits.items()}
        return {"root": str(self.root.resolve()), "pairing": self.pairing, "images": counts}

    def fingerprint(self, split: Split) -> str:
        """Twelve hexadecimal digits that stand for the files of a split, by their names and sizes in bytes."""
        domains = self._splits[split]
        files = dict.fromkeys(source.path for source in (*domains.a, *domains.b))
        text = "\n".join(f"{path.parent.name}/{path.name} {path.stat().st_size}" for path in files)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _loader(self, split: Split) -> DataLoader[Sample]:
        training = split == "train"
        p = self._processing
        if not training:
            p = replace(p, geometry=p.geometry.for_evaluation())
        kind = PairedDataset if self.pairing == "paired" else UnpairedDataset
        dataset = kind(self._splits[split], p)
        world_size = self.trainer.world_size if self.trainer else 1
        epoch, images = self._begin if training else (0, 0)
        sampler = EpochSampler(
            len(dataset), seed=self.seed, shuffle=training, pad=training, world_size=world_size,
            rank=self.trainer.global_rank if self.trainer else 0, epoch=epoch, skip=images // world_size,
        )  # fmt: skip
        return DataLoader(
            dataset,
            batch_size=self.batch_sizes[split],
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available() if self.pin_memory is None else self.pin_memory,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
            worker_init_fn=_settle_worker,
            # Also where something else is the default, as in the processes of joblib, which cannot hand on theirs.
            multiprocessing_context="fork" if self.num_workers > 0 and sys.platform == "linux" else None,
            # Its own generator, or starting the workers would draw from the one that the networks use.
            generator=torch.Generator().manual_seed(self.seed),
        )


def _first(domains: Domains, n: int | None) -> Domains:
    def cut(sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return sources[:n]

    return Domains(cut(domains.a), cut(domains.b))


def _settle_worker(worker: int) -> None:
    """One thread per worker process, and no ear for signals that are meant for the training.

    A cluster sends them to the workers, too, who would be gone before the training has saved itself.
    """
    for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise DataError(f"data.{name}={value} should be one of {', '.join(map(str, choices))}")


def _at_least(name: str, value: int, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise DataError(f"data.{name}={value} should be an integer of at least {minimum}")
    return value


def _positive(name: str, value: int) -> int:
    return _at_least(name, value, 1)


def _size(name: str, value: int | list[int]) -> Size:
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
        raise DataError(f"data.{name}={value} should be a positive number of pixels, or [height, width]")
    return sides[0], sides[1]


def _check_fit(size: Size, multiple: int) -> None:
    if size[0] % multiple or size[1] % multiple:
        raise DataError(
            f"data.image_size={size[0]}x{size[1]} does not suit the generator, which needs multiples of {multiple}: "
            f"change it, or use a generator of another depth (model/generator)"
        )
