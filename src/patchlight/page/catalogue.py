"""The checkpoints of the page: those to choose from, the few in memory, and the palette and canvas of each."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from patchlight.checkpoint import EMA_KEY
from patchlight.data.synthetic.layout import draw_facade
from patchlight.errors import DataError, UserError
from patchlight.example import model_path
from patchlight.inference.loading import TrainedModel, Weights
from patchlight.inference.model_folder import TENSORS
from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.translator import Direction, Translator
from patchlight.page.intake import FACADES, Palette, Setting, choose_palette, to_hex

DIRECTIONS: dict[Direction, str] = {"AtoB": "A → B", "BtoA": "B → A"}
"""How the page writes them."""

KEPT = 3
"""How many models stay in memory."""


@dataclass(frozen=True)
class Choice:
    """A checkpoint under the name that the page shows, with what is wrong with it, if something is known to be."""

    name: str
    path: Path
    problem: str | None = None


def find_choices(ckpt: Path, *, trust: bool = False) -> list[Choice]:
    """The checkpoint or model folder itself, or all below a folder; those that are plainly damaged have their reason.

    A model folder is what `patchlight-export format=hub` writes. Whether the others are whole is only known once they
    are loaded, which would take too long for a folder of many.

    Raises:
        DataError: there is none that could be used.
    """
    ckpt = model_path(ckpt)
    if not ckpt.is_dir() or (ckpt / TENSORS).is_file():
        TrainedModel(ckpt, trust=trust)
        return [Choice(ckpt.resolve().name, ckpt)]
    found = (path for path in ckpt.rglob("*.ckpt") if path.is_file() and not path.name.startswith("."))
    paths = sorted([*found, *(path.parent for path in ckpt.rglob(TENSORS) if path.is_file())])
    if not paths:
        raise DataError(f"ckpt={ckpt} has no *.ckpt below it: give a checkpoint, a run or a folder of runs")
    choices = [Choice(path.relative_to(ckpt).as_posix(), path, _damage(path, trust)) for path in paths]
    if all(choice.problem for choice in choices):
        raise DataError(f"none of the {len(choices)} checkpoints below ckpt={ckpt} can be used: {choices[0].problem}")
    return choices


def _damage(path: Path, trust: bool) -> str | None:
    """Why a file is no checkpoint, where its outside already says so: PyTorch writes archives."""
    if path.is_file() and zipfile.is_zipfile(path):
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
                changed = (path / TENSORS if path.is_dir() else path).stat().st_mtime_ns
            except OSError:
                raise DataError(f"The checkpoint {path} is not there any more: choose another one.") from None
            return self._load(path, changed)


class Catalogue:
    """The checkpoints of the page by name; those that turn out to be unusable are marked from then on.

    Raises:
        DataError: none of them can be used.
    """

    def __init__(self, choices: Sequence[Choice], models: Models, palette: Setting) -> None:
        self.models = models
        self.palette = palette
        self.paths = {choice.name: choice.path for choice in choices}
        self.problems = {choice.name: choice.problem for choice in choices if choice.problem}
        self.first = next((name for name in self.paths if name not in self.problems and self._is_usable(name)), "")
        if not self.first:
            raise DataError(f"none of the checkpoints can be used: {next(iter(self.problems.values()))}")

    def _is_usable(self, name: str) -> bool:
        try:
            self.loaded(name)
        except UserError:
            return False
        return True

    @property
    def labels(self) -> list[tuple[str, str]]:
        """What the list shows for each name, and the name."""
        return [(f"{name} (cannot be used)" if name in self.problems else name, name) for name in self.paths]

    def loaded(self, name: str) -> Loaded:
        """The model of that name, in memory.

        Raises:
            DataError: there is none, or it cannot be used.
        """
        path = self.path(name)
        try:
            loaded = self.models(path)
        except UserError as error:
            self.problems[name] = str(error)
            raise
        self.problems.pop(name, None)
        return loaded

    def path(self, name: str) -> Path:
        """Where the checkpoint of that name lies; raises a DataError if there is none."""
        if name not in self.paths:
            raise DataError("Choose a checkpoint first.")
        return self.paths[name]

    def palette_for(self, name: str, direction: Direction) -> Palette:
        """The colours to paint with for that network."""
        return choose_palette(self.palette, self.loaded(name).model.config, direction)

    def note(self, name: str) -> str:
        """HTML: what the page says of a checkpoint."""
        model = self.loaded(name)
        ways = " and ".join(DIRECTIONS[one] for one in model.directions)
        return (
            f'<p class="pl-note">Trained on squares of <b>{model.side} pixels</b>, {ways}. Images keep their size; '
            "those of about that scale come out best.</p>"
        )

    def canvas(self, name: str, direction: Direction, example: int | None = None) -> str:
        """The canvas for that network, as canvas.js takes it; with the `example`-th house on it if there is one."""
        palette, side = self.palette_for(name, direction), self.loaded(name).side
        return json.dumps(
            {
                "side": side,
                "colours": [(colour, to_hex(value)) for colour, value in palette.colours.items()],
                "labels": palette is FACADES,
                "picture": None if example is None else house(side, example),
                "example": example,
            }
        )


def house(side: int, seed: int) -> str:
    """A label map of the facades' classes, `side` pixels wide and high, as the address of a picture."""
    buffer = io.BytesIO()
    Image.fromarray(draw_facade(np.random.default_rng(seed), side).label_map()).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
