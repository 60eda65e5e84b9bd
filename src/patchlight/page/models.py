"""The checkpoints to choose from, and the few models in memory."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from patchlight.checkpoint import EMA_KEY
from patchlight.errors import DataError, UserError
from patchlight.inference.loading import TrainedModel, Weights
from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.translator import Direction, Translator

KEPT = 3
"""How many models stay in memory."""


@dataclass(frozen=True)
class Choice:
    """A checkpoint under the name that the page shows, with what is wrong with it, if something is known to be."""

    name: str
    path: Path
    problem: str | None = None


def find_choices(ckpt: Path, *, trust: bool = False) -> list[Choice]:
    """The checkpoint itself, or all below a folder; those that are plainly damaged have their reason.

    Whether the others are whole is only known once they are loaded, which would take too long for a folder of many.

    Raises:
        DataError: there is none that could be used.
    """
    if not ckpt.is_dir():
        TrainedModel(ckpt, trust=trust)
        return [Choice(ckpt.name, ckpt)]
    paths = sorted(path for path in ckpt.rglob("*.ckpt") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise DataError(f"ckpt={ckpt} has no *.ckpt below it: give a checkpoint, a run or a folder of runs")
    choices = [Choice(path.relative_to(ckpt).as_posix(), path, _damage(path, trust)) for path in paths]
    if all(choice.problem for choice in choices):
        raise DataError(f"none of the {len(choices)} checkpoints below ckpt={ckpt} can be used: {choices[0].problem}")
    return choices


def _damage(path: Path, trust: bool) -> str | None:
    """Why a file is no checkpoint, where its outside already says so: PyTorch writes archives."""
    if zipfile.is_zipfile(path):
        return None
    try:
        TrainedModel(path, trust=trust)
    except UserError as error:
        return str(error)
    return None


@dataclass
class Loaded:
    """A model in memory with its networks that were used."""

    model: TrainedModel
    device: str
    translators: dict[tuple[Direction, Weights], Translator] = field(default_factory=dict)
    scorers: dict[Direction, PatchScorer] = field(default_factory=dict)

    @property
    def directions(self) -> list[Direction]:
        """The directions of the model, first the one of its training."""
        return list(self.model.generators)

    @property
    def weights(self) -> list[Weights]:
        """The moving average first, if the run kept one."""
        return ["ema", "raw"] if EMA_KEY in self.model.checkpoint else ["raw"]

    @property
    def side(self) -> int:
        """The side of the squares that it was trained on, in pixels."""
        size: int | list[int] = self.model.config.data.image_size
        return size if isinstance(size, int) else max(size)

    def translator(self, direction: Direction, weights: Weights) -> Translator:
        """See `TrainedModel.translator`."""
        key = direction, weights
        if key not in self.translators:
            self.translators[key] = self.model.translator(direction=direction, weights=weights, device=self.device)
        return self.translators[key]

    def patch_scorer(self, direction: Direction) -> PatchScorer:
        """See `TrainedModel.patch_scorer`."""
        if direction not in self.scorers:
            self.scorers[direction] = self.model.patch_scorer(direction=direction, device=self.device)
        return self.scorers[direction]


class Models:
    """Loads checkpoints, keeps those used last, and loads again what a training has written anew."""

    def __init__(self, device: str, *, trust: bool = False) -> None:
        def load(path: Path, changed: int) -> Loaded:
            return Loaded(TrainedModel(path, trust=trust), device)

        self._load = lru_cache(KEPT)(load)
        self._lock = Lock()

    def __call__(self, path: Path) -> Loaded:
        """The model of a checkpoint.

        Raises:
            DataError: the file is gone, damaged, or no checkpoint of this project.
        """
        with self._lock:
            try:
                changed = path.stat().st_mtime_ns
            except OSError:
                raise DataError(f"The checkpoint {path} is not there any more: choose another one.") from None
            return self._load(path, changed)
