"""The runs' sample pictures of the same inputs side by side, embedded in the page."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from PIL import Image

from patchlight.errors import DataError
from patchlight.reporting.collect import Run
from patchlight.system.image_file import open_image
from patchlight.trust import read_json

MAX_SIDE, MIN_SIDE = 256, 96
"""Pixels of the longer side of an embedded picture."""

BYTES_PER_PIXEL = 0.28
"""What WebP needs at this quality for a photo, as an upper bound."""

QUALITY = 80
BUDGET = 6_000_000
"""How many bytes of pictures a page is to have, before they are written as text."""

COLOURS_FILE = "colours.json"
"""The scale of each heat map of a run, beside the pictures."""

HEAT_MAP = "heat map"

SHEET_SIDE = 900
MAX_INPUTS = 8


@dataclass(frozen=True)
class Translation:
    """One direction: the names of its input and target, of its output, and of what else is shown of it."""

    title: str
    source: str
    target: str | None
    output: str
    heat_map: str
    reconstruction: str | None


PIX2PIX = Translation("", "real_A", "real_B", "fake_B", "discriminator_fake", None)
CYCLEGAN = (
    Translation("A to B", "real_A", None, "fake_B", "discriminator_b_fake", "rec_A"),
    Translation("B to A", "real_B", None, "fake_A", "discriminator_a_fake", "rec_B"),
)


@dataclass(frozen=True)
class Picture:
    """An image as a data URI."""

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Colours:
    """The logits of a heat map's colours: `white`, and how far from it both ends of the colour bar are."""

    white: float
    full: float

    @property
    def ends(self) -> tuple[str, str, str]:
        """The numbers below a colour bar: red, white, blue."""
        return f"{self.white - self.full:.3g}", f"{self.white:.3g}", f"{self.white + self.full:.3g}"


@dataclass(frozen=True)
class Output:
    """A picture of a run, and what it is; of a heat map the colours, where the run recorded them."""

    what: str
    picture: Picture
    colours: Colours | None = None

    @property
    def is_heat_map(self) -> bool:
        return self.what.startswith(HEAT_MAP)


@dataclass(frozen=True)
class Grid:
    """Rows are inputs; each has its input, its target if there is one, and per run output, heat map, reconstruction."""

    title: str
    runs: Sequence[Run]
    sources: Sequence[Picture | None]
    targets: Sequence[Picture | None]
    outputs: Sequence[Sequence[Sequence[Output]]]
    """By input and run."""


def sample_grids(runs: Sequence[Run], budget: int = BUDGET) -> list[Grid]:
    """A grid per direction and per set of equal inputs, of the runs that left `samples/latest`."""
    found: dict[tuple[Translation, str], list[Run]] = {}
    for run in runs:
        for translation in _translations(run):
            found.setdefault((translation, _fingerprint(run, translation)), []).append(run)
    # Output, heat map and perhaps reconstruction of each run, input and target of the first.
    n_pictures = sum(
        min(len(_numbers(run, translation.source)), MAX_INPUTS) * 3
        for (translation, _), combined in found.items()
        for run in combined
    )
    # As large as all of them can be within the budget.
    affordable = (budget / max(n_pictures, 1) / BYTES_PER_PIXEL) ** 0.5
    side = int(min(MAX_SIDE, max(MIN_SIDE, affordable)))
    return [_grid(translation, combined, side) for (translation, _), combined in found.items()]


def contact_sheets(runs: Sequence[Run]) -> list[tuple[Run, Picture]]:
    """The newest contact sheet of each run that has no single pictures, as older versions left them."""
    sheets = []
    for run in runs:
        found = [path for path in run.samples.glob("step_*.png") if re.fullmatch(r"step_\d+", path.stem)]
        path = max(found, default=None)
        if path is not None and not _translations(run):
            picture = _embed(path, SHEET_SIDE, f"samples of {run.name}, {path.stem.replace('_', ' ')}")
            sheets += [(run, picture)] if picture else []
    return sheets


def _stems(run: Run) -> list[str]:
    return [path.stem for path in (run.samples / "latest").glob("*.png")]


def _translations(run: Run) -> Sequence[Translation]:
    names = {stem.partition("_")[2] for stem in _stems(run)}
    if {"real_A", "fake_B", "fake_A"} <= names:
        return CYCLEGAN
    return (PIX2PIX,) if {"real_A", "fake_B"} <= names else ()


def _numbers(run: Run, name: str) -> list[str]:
    """Which inputs a run has pictures of."""
    pattern = re.compile(rf"(\d+)_{name}")
    return sorted((match[1] for match in map(pattern.fullmatch, _stems(run)) if match), key=int)


def _fingerprint(run: Run, translation: Translation) -> str:
    """Equal for runs with the same inputs and targets, pixel for pixel."""
    digest = hashlib.sha256()
    for name in filter(None, (translation.source, translation.target)):
        for number in _numbers(run, name):
            digest.update(number.encode() + _pixels(_path(run, number, name)))
    return digest.hexdigest()


def _pixels(path: Path) -> bytes:
    try:
        with open_image(path) as image:
            return image.convert("RGB").tobytes()
    except DataError:
        return b""


def _grid(translation: Translation, runs: Sequence[Run], side: int) -> Grid:
    numbers = _numbers(runs[0], translation.source)[:MAX_INPUTS]
    displayed = {translation.output: "output"} | _heat_maps(runs, translation.heat_map)
    scales = {run.name: colour_scales(run) for run in runs}
    if translation.reconstruction:
        displayed[translation.reconstruction] = "reconstruction"

    def of_first(what: str, name: str | None) -> list[Picture | None]:
        return [_embed(_path(runs[0], number, name), side, f"{what} {number}") for number in numbers if name]

    def of_run(run: Run, number: str) -> list[Output]:
        found = []
        for name, what in displayed.items():
            picture = _embed(_path(run, number, name), side, f"{what} of input {number}, {run.name}")
            if picture is not None:
                found.append(Output(what, picture, scales[run.name].get(name.rpartition("_")[0])))
        return found

    return Grid(
        title=translation.title,
        runs=runs,
        sources=of_first("input", translation.source),
        targets=of_first("target", translation.target),
        outputs=[[of_run(run, number) for run in runs] for number in numbers],
    )


def _heat_maps(runs: Sequence[Run], name: str) -> dict[str, str]:
    """The names of the heat maps of a discriminator, and what each is: one, or one for each of its scales."""
    discriminator, _, kind = name.rpartition("_")
    names = {stem.partition("_")[2] for run in runs for stem in _stems(run)}
    pattern = re.compile(rf"{discriminator}_scale(\d+)_{kind}")
    scales = sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)
    return {name: HEAT_MAP} | {f"{discriminator}_scale{n}_{kind}": f"{HEAT_MAP}, scale {n}" for n in scales}


def colour_scales(run: Run) -> dict[str, Colours]:
    """The colours of a run's heat maps by their discriminator; what is missing or damaged is left out."""
    path = run.samples / "latest" / COLOURS_FILE
    try:
        content = read_json(path) if path.is_file() else {}
    except DataError:
        return {}
    scales = (
        {name: scale for name, scale in content.items() if isinstance(scale, dict)} if isinstance(content, dict) else {}
    )
    return {
        name: Colours(float(white), float(full))
        for name, scale in scales.items()
        if _is_finite(white := scale.get("white")) and _is_finite(full := scale.get("full"))
    }


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def heat_gradient() -> str:
    """The colours of heat maps from what looks fake to what looks real, as a CSS gradient."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return f"linear-gradient(to right, {', '.join(to_hex(colormaps['RdBu'](i / 10)) for i in range(11))})"


def _path(run: Run, number: str, name: str) -> Path:
    return run.samples / "latest" / f"{number}_{name}.png"


def _embed(path: Path, side: int, alt: str) -> Picture | None:
    """A picture file in WebP, at most `side` pixels high and wide; None where it is missing or damaged."""
    try:
        with open_image(path) as file:
            image = file.convert("RGB")
    except DataError:
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "WEBP", quality=QUALITY, method=4)
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return Picture(f"data:image/webp;base64,{text}", image.width, image.height, alt)
