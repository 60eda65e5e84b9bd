"""The work behind the page: translate, score, and write the results where they can be downloaded."""

from __future__ import annotations

import re
import shutil
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch

from patchlight.errors import DataError, UserError
from patchlight.inference.files import write_pixels
from patchlight.inference.loading import Weights
from patchlight.inference.pixels import Pixels
from patchlight.inference.translator import Direction
from patchlight.page.models import Loaded, Models
from patchlight.page.score_summary import ScoreSummary, as_tensor, common_scale, legend

KEPT_RESULTS = 64
"""How many results stay on the disk while the page is served; the page has its own copies of what it shows."""


@dataclass(frozen=True)
class Scene:
    """What the page shows of one translation; `scores` is what the discriminator says, or why it says nothing."""

    path: Path
    direction: Direction
    source: Pixels
    translated: Pixels
    result: Path
    over_result: Path | None
    over_input: Path | None
    scores: str
    legend: str


@dataclass(frozen=True)
class Comparison:
    """The patch maps of a real image and of a translated one, on one scale."""

    real: Path
    translated: Path
    scores: str
    legend: str


class Studio:
    """Translates and judges with the models of the page; results go into folders of their own below `folder`."""

    def __init__(self, models: Models, folder: Path) -> None:
        self.models = models
        self.folder = folder
        self._results: deque[Path] = deque()
        self._lock = Lock()

    def translate(self, path: Path, direction: Direction, weights: Weights, source: Pixels, name: str) -> Scene:
        """Translate an image and judge the result; `name` is what the files are called after.

        Raises:
            UserError: the checkpoint is gone or cannot do that, or the memory does not suffice.
        """
        model = self.models(path)
        translator = model.translator(direction, weights)
        try:
            array = translator.translate_array(source.for_network(translator.in_channels))
        except (torch.OutOfMemoryError, MemoryError):
            raise DataError("There is not memory enough to translate this image: give a smaller one.") from None
        translated = source.with_colour(array, translator.in_channels)
        folder = self.new_folder()
        stem = f"{_tidy(name)}_{direction}_{_tidy(path.stem)}"
        result = folder / f"{stem}.png"
        write_pixels(result, translated)
        try:
            summary = _score_summary(model, direction, translated, source)
        except UserError as error:
            return Scene(path, direction, source, translated, result, None, None, f"No patch map: {error}.", "")
        scale = common_scale(summary)
        over_result, over_input = folder / f"{stem}_patch_map.png", folder / f"{stem}_patch_map_on_input.png"
        summary.over(as_tensor(translated, 3), scale).save(over_result)
        summary.over(as_tensor(source, 3), scale).save(over_input)
        return Scene(
            path, direction, source, translated, result, over_result, over_input, summary.words(),
            legend(scale, summary.middle),
        )  # fmt: skip

    def compare(self, scene: Scene, real: Pixels) -> Comparison:
        """Score a real image beside the translated one.

        Raises:
            UserError: the real image has another size where the discriminator sees the input too, there is no
                discriminator, or the checkpoint is gone.
        """
        model = self.models(scene.path)
        if model.patch_scorer(scene.direction).sees_source and real.size != scene.source.size:
            (height, width), (rows, columns) = scene.source.size, real.size
            raise DataError(
                f"The real image has {columns}x{rows} pixels and the input {width}x{height}: this discriminator sees "
                f"both at once, so they must have the same size."
            )
        summaries = (
            _score_summary(model, scene.direction, real, scene.source),
            _score_summary(model, scene.direction, scene.translated, scene.source),
        )
        scale = common_scale(*summaries)
        folder = self.new_folder()
        paths = (folder / "real_patch_map.png", folder / "translated_patch_map.png")
        for summary, pixels, path in zip(summaries, (real, scene.translated), paths, strict=True):
            summary.over(as_tensor(pixels, 3), scale).save(path)
        words = "".join(
            f"<div><span>{what}</span> {summary.words()}</div>"
            for what, summary in zip(("Real image:", "Translation:"), summaries, strict=True)
        )
        return Comparison(*paths, words, legend(scale, summaries[0].middle))

    def new_folder(self) -> Path:
        """An empty folder; the oldest of too many is removed."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        with self._lock:
            self._results.append(folder)
            while len(self._results) > KEPT_RESULTS:
                shutil.rmtree(self._results.popleft(), ignore_errors=True)
        return folder


def _score_summary(model: Loaded, direction: Direction, image: Pixels, source: Pixels) -> ScoreSummary:
    scorer = model.patch_scorer(direction)
    translator = model.translator(direction, "raw")
    seen = as_tensor(image, translator.out_channels)
    return ScoreSummary.of(scorer, seen, as_tensor(source, translator.in_channels) if scorer.sees_source else seen)


def _tidy(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:60] or "image"
