"""What a run asks of a data module, and the answers for one that only yields batches."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from functools import cached_property
from typing import Any, Protocol, get_args, runtime_checkable

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader

from patchlight.data.batches import DOMAINS
from patchlight.data.content import Content
from patchlight.data.sources import Split
from patchlight.data.transforms import Size
from patchlight.errors import DataError

SLACK = 0.01
"""How far a value may be outside of [-1, 1], as after an augmentation."""


@runtime_checkable
class TrainingData(Protocol):
    """A data module with all that a run wants to know of it."""

    notes: list[str]
    """What is to be told of the set, besides errors; filled by `setup`."""
    callbacks: list[Callback]
    """What is to watch the trainings and tests that read it."""
    prepared: str
    """What happens to an image of an evaluation on its way in, for the protocol."""

    @property
    def module(self) -> LightningDataModule:
        """What the trainer takes."""

    @property
    def batch_sizes(self) -> Mapping[Split, int]:
        """Images in a batch of one rank."""

    @property
    def repeat(self) -> int:
        """How often each training image is seen in an epoch."""

    @property
    def of_one_size(self) -> bool:
        """Whether all images have the size `data.image_size`."""

    def describe(self) -> dict[str, Any]:
        """Where the images are, and as `images` how many of A and B each split has, in plain types."""

    def fingerprint(self, split: Split) -> str | None:
        """What stands for the images of a split, if that is known."""


@runtime_checkable
class Resumable(Protocol):
    """A data module that can begin within an epoch."""

    def begin_at(self, epoch: int, images: int) -> None:
        """Let training begin in this epoch, after so many of its images, those of all ranks counted.

        The loader's length stays that of a whole epoch.
        """


@runtime_checkable
class Described(Protocol):
    """A data module that says what the images of its batches hold."""

    @property
    def contents(self) -> Mapping[str, Content]:
        """Of domain `A` and of `B`."""


def contents_in(trainer: Trainer) -> Mapping[str, Content]:
    """What the images hold that a trainer's batches have, by domain; nothing of a data module that does not say it."""
    module = getattr(trainer, "datamodule", None)
    return module.contents if isinstance(module, Described) else {}


class LoaderData:
    """A data module of the user's own, which yields batches: `A`, `B` (B C H W, floating point, [-1, 1]), `A_path`,
    `B_path`.

    `image_size` and `channels` are those that the batches should have. Nothing else is asked of it: numbers are those
    of its loaders, and the first batches are checked.
    """

    def __init__(self, module: LightningDataModule, image_size: Size, channels: Mapping[str, int]) -> None:
        self.module = module
        self.of_one_size = True
        self.repeat = 1
        self.callbacks: list[Callback] = [BatchCheck(module, image_size, channels)]
        self.notes: list[str] = []
        self.prepared = f"by {_name(module)}"

    @property
    def batch_sizes(self) -> dict[Split, int]:
        return {split: next(map(_batch_size, found), 1) for split, found in self._loaders.items()}

    def describe(self) -> dict[str, Any]:
        counts = {split: sum(map(_images, found)) for split, found in self._loaders.items()}
        return {"source": _name(self.module), "images": {split: {"A": n, "B": n} for split, n in counts.items()}}

    def fingerprint(self, split: Split) -> str | None:
        return None

    @cached_property
    def _loaders(self) -> dict[Split, list[Any]]:
        """What each split would be read by, made once to be counted."""
        for stage in ("fit", "validate", "test"):
            self.module.setup(stage)
        return {split: self._of_split(split) for split in get_args(Split)}

    def _of_split(self, split: Split) -> list[Any]:
        hook = f"{split}_dataloader"
        if not is_overridden(hook, self.module, LightningDataModule):
            return []
        loaders = getattr(self.module, hook)()
        return list(loaders) if isinstance(loaders, list | tuple) else [loaders] if loaders is not None else []


def _name(module: LightningDataModule) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _batch_size(loader: Any) -> int:
    return loader.batch_size or 1 if isinstance(loader, DataLoader) else 1


def _images(loader: Any) -> int:
    if isinstance(loader, DataLoader) and isinstance(loader.dataset, Sized):
        return len(loader.dataset)
    if not isinstance(loader, Sized):
        raise DataError(f"a {type(loader).__name__} has no length, so an epoch has no end: give its dataset a __len__")
    return len(loader) * _batch_size(loader)


class BatchCheck(Callback):
    """Refuses the first batch of a training, validation or test that the methods could not read."""

    def __init__(self, module: LightningDataModule, image_size: Size, channels: Mapping[str, int]) -> None:
        self.name = _name(module)
        self.image_size = image_size
        self.channels = dict(channels)
        self.seen: set[str] = set()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._check(batch, "training")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._check(batch, "validation")

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._check(batch, "test")

    def _check(self, batch: Any, kind: str) -> None:
        if kind in self.seen:
            return
        self.seen.add(kind)
        wrong = self._why_refused(batch)
        if wrong is not None:
            raise DataError(
                f"{self.name} yields a {kind} batch that cannot be used: {wrong}. A batch is a dict of A and B (B C H "
                f"W, floating point in [-1, 1]) and lists of texts A_path and B_path"
            )

    def _why_refused(self, batch: Any) -> str | None:
        if not isinstance(batch, dict):
            return f"it is a {type(batch).__name__}"
        for domain in DOMAINS:
            images, paths = batch.get(domain), batch.get(f"{domain}_path")
            if not isinstance(images, Tensor):
                return f"{domain} is {images!r:.80}"
            if images.ndim != 4 or not images.is_floating_point():
                return f"{domain} is {images.dtype} of shape {tuple(images.shape)}"
            wanted = (self.channels[domain], *self.image_size)
            if tuple(images.shape[1:]) != wanted:
                return (
                    f"{domain} has images of {tuple(images.shape[1:])} (channels, height, width) where "
                    f"data.channels_a, data.channels_b, data.direction and data.image_size say {wanted}"
                )
            low, high = float(images.min()), float(images.max())
            if low < -1 - SLACK or high > 1 + SLACK:
                return f"the values of {domain} go from {low:g} to {high:g}"
            texts = [path for path in paths if isinstance(path, str)] if isinstance(paths, list | tuple) else []
            if len(texts) != len(images):
                return f"{domain}_path is {paths!r:.80}, not a text for each of {len(images)} images"
        return None
