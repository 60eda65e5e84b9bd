"""The work behind the page: translate, score, and write the results where they can be downloaded."""

from __future__ import annotations

import re
import shutil
import uuid
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patchlight.data.bands import Bands
from patchlight.data.content import Colours, Content
from patchlight.data.labels import LabelMaps, drawable
from patchlight.errors import DataError, UserError
from patchlight.inference.files import write_pixels
from patchlight.inference.loading import Weights
from patchlight.inference.patch_scorer import PatchScorer, as_picture
from patchlight.inference.pixels import Array, Pixels, to_values
from patchlight.inference.translator import Direction
from patchlight.networks import Maps
from patchlight.page.catalogue import Models
from patchlight.pictures import Scale, overlay, red_to_blue

STOPS = 11
"""Colours of the legend; between them the browser blends."""

GAP = 8
"""Pixels between the heat maps of two scales."""

KEPT_RESULTS = 64
"""How many results stay on the disk while the page is served; the page has its own copies of what it shows."""


def as_array(pixels: Pixels, content: Content) -> Array:
    """H W C, as a network that reads such images takes it; raises a DataError that can be shown."""
    try:
        return pixels.for_content(content)
    except DataError as error:
        raise DataError(f"The image does not fit this network: {error}.") from None


def as_tensor(pixels: Pixels, content: Content) -> Tensor:
    """What a network reads of an image, C H W in [-1, 1]."""
    return to_values([as_array(pixels, content)], torch.device("cpu"), content)[0]


def as_shown(pixels: Pixels, content: Content) -> Tensor:
    """An image as pictures show it, in colours or gray, C H W in [-1, 1]."""
    match content:
        case Bands():
            return content.drawn(as_tensor(pixels, content))
        case LabelMaps():
            return drawable(as_tensor(pixels, content))
    return as_tensor(pixels, Colours(3))


@dataclass(frozen=True)
class ScoreSummary:
    """The patch maps of an image, h w logits for each scale of the discriminator, and what is needed to colour them."""

    maps: Maps
    scorer: PatchScorer

    @classmethod
    def of(cls, scorer: PatchScorer, image: Tensor, source: Tensor) -> ScoreSummary:
        """The scores of an image that was translated from `source`, both C H W in [-1, 1].

        Raises:
            DataError: the image is too small for a patch map.
        """
        return cls(tuple(logits.detach().float().cpu() for logits in scorer(image, source)), scorer)

    def over(self, image: Tensor, scale: Scale) -> Image.Image:
        """The heat maps on an image of the size of that which was judged, side by side, the finest first."""
        grids = self.scorer.grids(*image.shape[-2:])
        pictures = [overlay(image, logits, grid, scale) for logits, grid in zip(self.maps, grids, strict=True)]
        width = pictures[0].width + GAP
        combined = Image.new("RGB", (width * len(pictures) - GAP, pictures[0].height), "white")
        for number, picture in enumerate(pictures):
            combined.paste(picture, (number * width, 0))
        return combined

    @property
    def mean(self) -> float:
        """The mean score; each scale counts the same."""
        return sum(float(logits.mean()) for logits in self.maps) / len(self.maps)

    @property
    def real_share(self) -> float | None:
        """The share of patches taken for real; None where only comparisons mean something."""
        threshold = self.scorer.boundary
        if threshold is None:
            return None
        return sum(float((logits > threshold).float().mean()) for logits in self.maps) / len(self.maps)

    @property
    def middle(self) -> str:
        """What white stands for in its heat map."""
        return "mean" if self.scorer.boundary is None else "boundary"

    def words(self) -> str:
        """The scores in one line."""
        sizes = " and ".join("x".join(map(str, logits.shape)) for logits in self.maps)
        text = f"mean score <b>{figure(self.mean)}</b>"
        if self.real_share is not None:
            text += f" · <b>{self.real_share:.0%}</b> of {sizes} patches taken for real"
        return text


def common_scale(*summaries: ScoreSummary) -> Scale:
    """The scale on which all of them can be compared."""
    return Scale.of([logits for summary in summaries for logits in summary.maps], summaries[0].scorer.boundary)


def legend(scale: Scale, middle: str) -> str:
    """HTML: the colours of a patch map with the scores that they stand for; `middle` says what white is."""
    stops = red_to_blue(np.linspace(0, 1, STOPS))
    colours = ", ".join("#" + bytes((stop * 255).round().astype(np.uint8)).hex() for stop in stops)
    ends = [figure(scale.boundary + side * scale.reach) for side in (-1, 0, 1)]
    return (
        f'<div class="pl-legend"><div class="pl-bar" style="background: linear-gradient(90deg, {colours})"></div>'
        f'<div class="pl-ends"><span>taken for fake<br><b>{ends[0]}</b></span><span>{middle}<br><b>{ends[1]}</b></span>'
        f"<span>taken for real<br><b>{ends[2]}</b></span></div></div>"
    )


def figure(value: float) -> str:
    """A number with two digits and a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Scene:
    """What the page shows of one translation; `scores` is what the discriminator says, or why it says nothing."""

    path: Path
    direction: Direction
    weights: Weights
    source: Pixels
    translated: Pixels
    result: Path
    shown: Path
    """A picture of the result, which is the result itself where browsers can show it."""
    over_result: Path | None = None
    over_input: Path | None = None
    scores: str = ""
    legend: str = ""


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
        translator = self.models(path).translator(direction, weights)
        in_bands = isinstance(translator.writes, Bands)
        if translator.out_channels > 4 and not in_bands:
            raise DataError(
                f"This network makes images of {translator.out_channels} channels, which no picture can show: use "
                f"patchlight.load, which translates arrays."
            )
        try:
            given = as_array(source, translator.reads)
            array = translator.translate_array(given)
        except (torch.OutOfMemoryError, MemoryError):
            raise DataError("There is not memory enough to translate this image: give a smaller one.") from None
        translated = source.with_colour(array, given.shape[2], translator.writes)
        folder = self.new_folder()
        stem = f"{_tidy(name)}_{direction}_{_tidy(path.stem)}"
        result = shown = folder / f"{stem}.png"
        if in_bands:  # which no browser shows
            result = folder / f"{stem}.tif"
            as_picture(array, translator.writes).save(shown)
        write_pixels(result, translated)
        scene = Scene(path, direction, weights, source, translated, result, shown)
        try:
            summary = self._summary(scene, translated)
        except UserError as error:
            return replace(scene, scores=f"No patch map: {error}.")
        scale = common_scale(summary)
        over_result, over_input = folder / f"{stem}_patch_map.png", folder / f"{stem}_patch_map_on_input.png"
        summary.over(as_shown(translated, translator.writes), scale).save(over_result)
        summary.over(as_shown(source, translator.reads), scale).save(over_input)
        words, colours = summary.words(), legend(scale, summary.middle)
        return replace(scene, over_result=over_result, over_input=over_input, scores=words, legend=colours)

    def compare(self, scene: Scene, real: Pixels) -> Comparison:
        """Score a real image beside the translated one.

        Raises:
            UserError: the real image has another size where the discriminator sees the input too, there is no
                discriminator, or the checkpoint is gone.
        """
        if self.models(scene.path).patch_scorer(scene.direction).sees_source and real.size != scene.source.size:
            (height, width), (rows, columns) = scene.source.size, real.size
            raise DataError(
                f"The real image has {columns}x{rows} pixels and the input {width}x{height}: this discriminator sees "
                f"both at once, so they must have the same size."
            )
        summaries = self._summary(scene, real), self._summary(scene, scene.translated)
        scale = common_scale(*summaries)
        folder, content = self.new_folder(), self.models(scene.path).translator(scene.direction, scene.weights).writes
        paths = (folder / "real_patch_map.png", folder / "translated_patch_map.png")
        for summary, pixels, path in zip(summaries, (real, scene.translated), paths, strict=True):
            summary.over(as_shown(pixels, content), scale).save(path)
        words = "".join(
            f"<div><span>{what}</span> {summary.words()}</div>"
            for what, summary in zip(("Real image:", "Translation:"), summaries, strict=True)
        )
        return Comparison(*paths, words, legend(scale, summaries[0].middle))

    def _summary(self, scene: Scene, image: Pixels) -> ScoreSummary:
        """The scores of an image in the place of the translated one."""
        model = self.models(scene.path)
        scorer, translator = model.patch_scorer(scene.direction), model.translator(scene.direction, scene.weights)
        seen = as_tensor(image, translator.writes)
        source = as_tensor(scene.source, translator.reads) if scorer.sees_source else seen
        return ScoreSummary.of(scorer, seen, source)

    def new_folder(self) -> Path:
        """An empty folder; the oldest of too many is removed."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        with self._lock:
            self._results.append(folder)
            while len(self._results) > KEPT_RESULTS:
                shutil.rmtree(self._results.popleft(), ignore_errors=True)
        return folder


def _tidy(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:60] or "image"
