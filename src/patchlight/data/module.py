"""The data module: from sources of images to batches, on any number of workers and ranks."""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning.pytorch import Callback, LightningDataModule
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch.utils.data import DataLoader

from patchlight.data.bands import Bands, Depth
from patchlight.data.batches import Batch, Sample, collate, normalise
from patchlight.data.cache import Arena, budget
from patchlight.data.content import Content
from patchlight.data.contents import contents_of
from patchlight.data.datasets import PairedDataset, UnpairedDataset
from patchlight.data.decoding import Decoding
from patchlight.data.inspection import inspect
from patchlight.data.labels import MAX_CLASSES, LabelMaps
from patchlight.data.limits import measured_contents
from patchlight.data.loading import EpochSampler, choose_workers, settle_worker
from patchlight.data.processing import Processing
from patchlight.data.settings import (
    Numbers,
    Range,
    Sides,
    geometry_of,
    require_cache,
    require_choices,
    require_integers,
    require_one_picture,
    require_place_for_masks,
)
from patchlight.data.sources import (
    Direction,
    Domains,
    FileSet,
    Folders,
    ImageSet,
    Layout,
    Pairing,
    Split,
    StoredSet,
)
from patchlight.data.sources.pictures import Pictures
from patchlight.data.splits import find_splits
from patchlight.data.synthetic import SyntheticSet
from patchlight.data.transforms import Augment, Preprocess, as_size
from patchlight.errors import DataError


class ImageDataModule(LightningDataModule):
    """Batches of a paired or unpaired image set: `A`, `B` (B C H W, floating point, [-1, 1]), `A_path`, `B_path`.

    That is how the trainer hands them out. The loaders themselves yield images of 8 bits, which `normalise` turns into
    float32; in a training that is done on the device.

    Images come from `source`, or without one from the folder `root`, where `layout` says how they lie in it.

    With `n_classes` the input images, those of the domain with which `direction` begins, are label maps of class
    indices from 0 on, of which `A` has a channel each, of 0 and 1. With `instances` another one is 1 at the boundaries
    of instances, whose numbers are in `root/{split}_instances`, or in a second channel of what `source` reads.

    The randomness of a sample is a function of (seed, epoch, index): the same for any number of workers and ranks.
    `depth_a`, `range_a`, `bands_a` and `display_a` say what the images of domain A hold where it is not colours of 8
    bits, and those of B the same of domain B: see `Bands`. `range_a` are limits of all bands or of each, or
    `percentiles` of each band over the training images, which `setup` measures and `measured` tells. With
    `colorization` both images of a pair are parts of one picture, lightness and chroma, see `patchlight.data.lab`.

    With `fast_jpeg` JPEG files that are two times as large as `load_size`, or more, are decoded smaller, which takes
    less time and makes other pixels; it is for `resize_and_crop`.

    With `mask` a pair has a mask in `root/{split}_mask`, under the name of its image of domain A: batches then have
    `valid`, 1 at the pixels that losses and figures count.

    Where there is no validation split, `val_size` images are cut from the training split, by seed; `auto` is 16, but at
    most a tenth of them and at least one. Sizes are pixels, one number or [height, width]. `size_multiple` and
    `min_size` are what the networks ask of images. With `render`, the built-in set is rendered into `root` at first
    use.

    `cache` is how much memory all processes of this machine may use to keep decoded images, in GiB; `auto` is a quarter
    of what is available. `num_workers` is per rank; `auto` is a core each, at most 8, or where training itself needs
    the cores, one.

    Raises:
        DataError: a value out of range, by its key; in `setup`, everything about files that can be known from their
            names and headers.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        pairing: Pairing = "paired",
        layout: Layout = "auto",
        direction: Direction = "AtoB",
        channels_a: PositiveInt = 3,
        channels_b: PositiveInt = 3,
        n_classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)] | None = None,
        instances: bool = False,
        colorization: bool = False,
        depth_a: Depth = "uint8",
        depth_b: Depth = "uint8",
        range_a: Range | None = None,
        range_b: Range | None = None,
        bands_a: Numbers | None = None,
        bands_b: Numbers | None = None,
        display_a: Numbers | None = None,
        display_b: Numbers | None = None,
        mask: bool = False,
        fast_jpeg: bool = False,
        preprocess: Preprocess = "resize_and_crop",
        load_size: Sides = 286,
        image_size: Sides = 256,
        flip: bool = True,
        augment: Augment | None = None,
        batch_size: PositiveInt = 1,
        eval_batch_size: PositiveInt = 1,
        num_workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = "auto",
        cache: NonNegativeFloat | Literal["auto"] = "auto",
        pin_memory: bool | None = None,
        val_size: NonNegativeInt | Literal["auto"] = "auto",
        max_train: PositiveInt | None = None,
        max_eval: PositiveInt | None = None,
        repeat: PositiveInt = 1,
        seed: NonNegativeInt = 0,
        size_multiple: int = 1,
        min_size: int = 1,
        render: SyntheticSet | None = None,
        source: ImageSet | None = None,
    ) -> None:
        super().__init__()
        contents = contents_of(
            {
                "direction": direction, "channels_a": channels_a, "channels_b": channels_b, "n_classes": n_classes,
                "instances": instances, "colorization": colorization, "depth_a": depth_a, "depth_b": depth_b,
                "range_a": range_a, "range_b": range_b, "bands_a": bands_a, "bands_b": bands_b,
                "display_a": display_a, "display_b": display_b,
            }
        )  # fmt: skip
        self.root = None if root is None else Path(root).expanduser()
        if source is None:
            if self.root is None:
                raise DataError("data.root is not set: give data.root=VALUE")
            source = Pictures(self.root) if colorization else Folders(self.root, pairing, layout, instances, direction)
        if isinstance(source, FileSet):
            at_least = as_size("load_size", load_size) if fast_jpeg else None
            of_a, of_b = (
                Decoding(values=isinstance(c, Bands), at_least=None if isinstance(c, LabelMaps) else at_least)
                for c in contents
            )
            source = source.decoded_as(of_a, of_b)
        self.source = source
        if colorization:
            require_one_picture(pairing, augment)
        if mask:
            require_place_for_masks(pairing, source)
        if fast_jpeg and (preprocess != "resize_and_crop" or not isinstance(source, FileSet)):
            raise DataError("data.fast_jpeg=true is of image files with data.preprocess=resize_and_crop")
        self.mask = mask
        self._ranges = {"a": range_a, "b": range_b}
        self.measured: dict[str, list[list[float]]] = {}
        """By the key, limits that were measured."""
        self.render = render
        self.pairing: Pairing = pairing
        require_choices(
            pairing=(pairing, Pairing), layout=(layout, Layout), direction=(direction, Direction),
            preprocess=(preprocess, Preprocess),
        )  # fmt: skip
        require_integers(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        require_integers(0, seed=seed)
        require_integers(0, ("auto",), num_workers=num_workers, val_size=val_size)
        require_integers(1, (None,), max_train=max_train, max_eval=max_eval)
        require_integers(1, repeat=repeat, channels_a=channels_a, channels_b=channels_b)
        require_cache(cache)
        self.batch_sizes: dict[Split, int] = {"train": batch_size, "val": eval_batch_size, "test": eval_batch_size}
        self.num_workers, self.cache, self.pin_memory, self.seed = num_workers, cache, pin_memory, seed
        self.val_size, self.max_train, self.max_eval = val_size, max_train, max_eval
        self.repeat = repeat
        self._arena: Arena | None = None
        self._datasets: dict[Split, PairedDataset | UnpairedDataset] = {}
        self.callbacks: list[Callback] = []
        self.of_one_size = "crop" in preprocess
        self.prepared = f"{preprocess}, without crop margin or flip"
        self.notes: list[str] = []
        self._processing = Processing(
            geometry=geometry_of(preprocess, load_size, image_size, flip, size_multiple), augment=augment,
            content_a=contents[0], content_b=contents[1], direction=direction, seed=seed, size_multiple=size_multiple,
            min_size=min_size, decoded_smaller=fast_jpeg,
        )  # fmt: skip
        self._splits: dict[Split, Domains] = {}
        self._begin = (0, 0)
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer images to evaluate than ranks

    def prepare_data(self) -> None:
        if self.render is not None and self.root is not None:
            self.render.write(self.root, self.pairing)

    def setup(self, stage: str | None = None) -> None:
        if self._splits:
            return
        if isinstance(self.source, StoredSet) and stage in (None, "fit"):
            self.source.require_training_images()
        splits, notes = find_splits(
            self.source, self.pairing, masks=self.mask, fit=stage in (None, "fit"), val_size=self.val_size,
            seed=self.seed, max_train=self.max_train, max_eval=self.max_eval,
        )  # fmt: skip
        self.notes += notes
        advice = ""
        if isinstance(self.source, StoredSet):
            advice = f" (all at once: patchlight-doctor {shlex.quote(f'data={self.source.root}')})"
        inspect(splits, self._processing, paired=self.pairing == "paired", advice=advice)
        p, train = self._processing, splits["train"]
        found, self.measured = measured_contents(
            {"a": (p.content_a, train.a), "b": (p.content_b, train.b)}, self._ranges
        )  # fmt: skip
        self._processing = replace(p, content_a=found["a"], content_b=found["b"])
        self.notes += [
            f"data.{key}={self._ranges[key[-1]]}: in the training images these are {limits}"
            for key, limits in self.measured.items()
        ]
        self._splits = splits

    def train_dataloader(self) -> DataLoader[Sample]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        return self._loader("val") if len(self._splits["val"]) else []

    def test_dataloader(self) -> DataLoader[Sample] | list[Any]:
        return self._loader("test") if len(self._splits["test"]) else []

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Images become floating point only now, so that a quarter of the bytes has gone to the device."""
        assert self.trainer is not None
        a = self.contents["A"]
        seen = normalise(batch, a if isinstance(a, LabelMaps) else None)
        converted: Batch = self.trainer.precision_plugin.convert_input(seen)
        return converted

    def begin_at(self, epoch: int, images: int) -> None:
        """Let training begin in this epoch, after so many of its images, those of all ranks counted."""
        self._begin = (epoch, images)

    @property
    def contents(self) -> dict[str, Content]:
        """What the images `A` and `B` of a batch hold."""
        return self._processing.contents

    @property
    def module(self) -> ImageDataModule:
        return self

    def describe(self) -> dict[str, Any]:
        """Where the images are and how many there are in each split, in plain types."""
        counts = {split: {"A": len(d.a), "B": len(d.b)} for split, d in self._splits.items()}
        where = {"root": self.source.place} if isinstance(self.source, StoredSet) else {}
        if not isinstance(self.source, Folders):
            kinds = dict.fromkeys(type(i.source) for d in self._splits.values() for i in (d.a, d.b) if len(i))
            where["source"] = ", ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
        return {**where, "pairing": self.pairing, "images": counts}

    def fingerprint(self, split: Split) -> str:
        """Twelve hexadecimal digits that stand for the images of a split: the names and sizes of files, or what the
        source gives for them."""
        text = "\n".join(self._splits[split].fingerprints())
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]

    def _loader(self, split: Split) -> DataLoader[Sample]:
        training = split == "train"
        local_ranks = self.trainer.num_devices if self.trainer else 1
        workers = choose_workers(local_ranks) if self.num_workers == "auto" else self.num_workers
        if self._arena is None:
            # Not before, as this object may yet go to another process; not later, as the workers are forked from this.
            self._arena = Arena(budget(self.cache, local_ranks), workers)
        dataset = self._dataset(split, self._arena)
        world_size = self.trainer.world_size if self.trainer else 1
        epoch, images = self._begin if training else (0, 0)
        sampler = EpochSampler(
            len(dataset), seed=self.seed, shuffle=training, pad=training, world_size=world_size,
            blocks=self._splits[split].blocks() if training else None, paired=self.pairing == "paired",
            rank=self.trainer.global_rank if self.trainer else 0, epoch=epoch, skip=images // world_size,
        )  # fmt: skip
        return DataLoader(
            dataset,
            batch_size=self.batch_sizes[split],
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=torch.cuda.is_available() if self.pin_memory is None else self.pin_memory,
            persistent_workers=workers > 0,
            collate_fn=collate,
            worker_init_fn=settle_worker,
            # Also where something else is the default, as in the processes of joblib, which cannot hand on theirs.
            multiprocessing_context="fork" if workers > 0 and sys.platform == "linux" else None,
            # Its own generator, or starting the workers would draw from the one that the networks use.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _dataset(self, split: Split, arena: Arena) -> PairedDataset | UnpairedDataset:
        """The images of a split, always the same object, so that every loader finds what another one has kept."""
        if split not in self._datasets:
            p = self._processing
            if split != "train":
                p = replace(p, geometry=p.geometry.for_evaluation())
            kind = PairedDataset if self.pairing == "paired" else UnpairedDataset
            self._datasets[split] = kind(self._splits[split], p, arena, self.repeat if split == "train" else 1)
        return self._datasets[split]
