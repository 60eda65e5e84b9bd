"""Pictures for people: sheets of samples, and a discriminator's patch map as a heat map with its receptive field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from patchlight.data.images import to_uint8
from patchlight.data.labels import drawable
from patchlight.networks import PatchGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "FAKE_COLOUR",
    "INK",
    "REAL_COLOUR",
    "PatchView",
    "Scale",
    "contact_sheet",
    "overlay",
    "patch_map_figure",
    "to_picture",
]

FAKE_COLOUR, REAL_COLOUR, INK = "#b2182b", "#2166ac", "#262a33"
MARGIN, GAP, MIN_WIDTH = 16, 8, 128
"""Pixels; images that are less wide are enlarged."""

DPI = 100


def contact_sheet(rows: Sequence[Mapping[str, Tensor]], gallery: Sequence[Sequence[tuple[str, str]]]) -> Image.Image:
    """A picture of images by name, each C H W in [-1, 1].

    `gallery` holds one block of columns per direction, each column an image's name and its title; the blocks stand
    side by side with a wider gap between them.
    """
    scale = max(1, -(-MIN_WIDTH // max(rows[0][name].shape[-1] for block in gallery for name, _ in block)))
    names = {name for block in gallery for name, _ in block}
    cells = [{name: to_picture(row[name], scale) for name in names} for row in rows]
    width = max(cell.width for row in cells for cell in row.values())
    heights = [max(cell.height for cell in row.values()) for row in cells]
    columns, right = [], MARGIN
    for block in gallery:
        for name, title in block:
            columns.append((right, name, title))
            right += width + GAP
        right += 2 * GAP
    font_size = max(13, width // 12)
    header = int(font_size * 1.9)
    sheet_height = header + sum(heights) + (len(rows) - 1) * GAP + 2 * MARGIN
    sheet = Image.new("RGB", (right - 3 * GAP + MARGIN, sheet_height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=font_size)
    for x, name, title in columns:
        draw.text((x + width / 2, MARGIN + header * 0.35), title, fill=INK, font=font, anchor="mm")
        y = MARGIN + header
        for row, height in zip(cells, heights, strict=True):
            sheet.paste(row[name], (x, y))
            y += height + GAP
    return sheet


def to_picture(image: Tensor, scale: int = 1) -> Image.Image:
    """An RGB picture of an image, C H W in [-1, 1], each pixel `scale` pixels wide.

    Shown are the first three channels, or of one or two the first in gray; label maps in colours.
    """
    array = to_uint8(drawable(image))
    picture = Image.fromarray(np.repeat(array[:, :, :1], 3, axis=2) if array.shape[2] < 3 else array[:, :, :3])
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


@dataclass(frozen=True)
class PatchView:
    """One real and one generated image, each C H W in [-1, 1], with their patch maps, h w logits, and their patches."""

    real: Tensor
    fake: Tensor
    logits_real: Tensor
    logits_fake: Tensor
    grid: PatchGrid


@dataclass(frozen=True)
class Scale:
    """How logits become colours: white at the boundary between real and fake, full colour `reach` away from it."""

    boundary: float
    reach: float

    @classmethod
    def of(cls, logits: Sequence[Tensor], boundary: float | None) -> Scale:
        """The scale on which these logits use all colours; without a boundary their mean is white."""
        values = np.concatenate([x.detach().float().cpu().numpy().ravel() for x in logits])
        values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
        middle = float(values.mean()) if boundary is None else boundary
        # The odd extreme patch should not leave all others pale.
        return cls(middle, max(float(np.quantile(np.abs(values - middle), 0.98)), 1e-6))

    def colours(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """RGB in [0, 1], with a last axis of three."""
        unit = (logits - self.boundary) / (2 * self.reach) + 0.5
        return red_to_blue(np.clip(np.nan_to_num(unit, nan=0.5), 0, 1)).astype(np.float32)


def red_to_blue(unit: NDArray[Any]) -> NDArray[np.float64]:
    """RGB in [0, 1] for values in [0, 1]: red where the discriminator says fake, blue where it says real."""
    from matplotlib import colormaps

    return np.asarray(colormaps["RdBu"](unit)[..., :3], dtype=np.float64)


def overlay(image: Tensor, logits: Tensor, grid: PatchGrid, scale: Scale, opacity: float = 0.6) -> Image.Image:
    """The heat map of a patch map, h w, on its image, C H W in [-1, 1]; see `overlay_picture`."""
    return overlay_picture(to_picture(image), logits, grid, scale, opacity)


def overlay_picture(
    picture: Image.Image, logits: Tensor, grid: PatchGrid, scale: Scale, opacity: float = 0.6, reduced: int = 1
) -> Image.Image:
    """The heat map of a patch map, h w, on a picture, which is shown in gray.

    Each logit colours a square as wide as the patches are apart, around the centre of its own patch; the outermost
    ones colour the rim as well. Small pictures are enlarged. `reduced` is how many times smaller the picture is than
    the image that was judged.
    """
    zoom = max(1, -(-MIN_WIDTH // picture.width))
    gray = np.asarray(picture.convert("L"), dtype=np.float32)[..., None] / 255
    sides = (picture.height, logits.shape[-2]), (picture.width, logits.shape[-1])
    rows, columns = (_nearest(pixels, patches, grid, reduced) for pixels, patches in sides)
    values = logits.detach().float().cpu().numpy().reshape(logits.shape[-2:])
    colours = scale.colours(values)[np.ix_(rows, columns)]
    blend = (1 - opacity) * gray + opacity * colours
    result = Image.fromarray((blend * 255).round().astype(np.uint8))
    return result.resize((result.width * zoom, result.height * zoom), Image.Resampling.NEAREST)


def _nearest(pixels: int, patches: int, grid: PatchGrid, reduced: int) -> NDArray[np.int64]:
    """For every pixel along a side, the patch whose centre is nearest."""
    centres = (np.arange(pixels) + 0.5) * reduced
    nearest: NDArray[np.float64] = np.floor((centres - grid.offset) / grid.stride + 0.5)
    return np.clip(nearest, 0, patches - 1).astype(np.int64)


def patch_map_figure(
    views: Sequence[PatchView],
    boundary: float | None,
    scores: tuple[Tensor, Tensor],
    title: str,
) -> Image.Image:
    """A picture of some images with their heat maps, a patch drawn to scale, and the histograms of all scores.

    `scores` are the logits of real and generated patches from which the histograms are made, of any shape.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = Scale.of([x for v in views for x in (v.logits_real, v.logits_fake)], boundary)
    cell = 2.3
    aspect = views[0].real.shape[-2] / views[0].real.shape[-1]
    figure = Figure(figsize=(4 * cell + 0.4, len(views) * cell * aspect + 2.9), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=12)
    grid_spec = figure.add_gridspec(len(views) + 1, 4, height_ratios=[cell * aspect] * len(views) + [1.9])
    for row, view in enumerate(views):
        cells = (
            ("real", to_picture(view.real)),
            ("judged", overlay(view.real, view.logits_real, view.grid, scale)),
            ("generated", to_picture(view.fake)),
            ("judged", overlay(view.fake, view.logits_fake, view.grid, scale)),
        )
        height, width = view.real.shape[-2:]
        for column, (name, picture) in enumerate(cells):
            axes = figure.add_subplot(grid_spec[row, column])
            axes.imshow(np.asarray(picture), extent=(0, width, height, 0), interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(name, color=INK, fontsize=10)
            if column in (0, 2) and row == 0:
                _draw_patch(axes, view, column == 0)
    _draw_histograms(figure.add_subplot(grid_spec[len(views), :]), scores, scale, boundary)
    figure.canvas.draw()
    assert isinstance(figure.canvas, FigureCanvasAgg)
    pixels = figure.canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(pixels)).convert("RGB")


def _draw_patch(axes: Axes, view: PatchView, label: bool) -> None:
    """The receptive field of the value in the middle of the map, with its place in the map as a point."""
    from matplotlib.patches import Rectangle

    (height, width), grid = view.real.shape[-2:], view.grid
    row, column = (n // 2 for n in grid.size)
    left, top, right, bottom = grid.patch(row, column)
    for colour, thickness in (("white", 3.0), (INK, 1.2)):
        axes.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=thickness)
        )
    axes.plot(grid.centre(column), grid.centre(row), "o", markersize=4, color=INK, markeredgecolor="white")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    if label:
        axes.text(
            0.5, -0.02, f"one patch: {grid.field} px", transform=axes.transAxes, ha="center", va="top", fontsize=8,
            color=INK,
        )  # fmt: skip


def _draw_histograms(axes: Axes, scores: tuple[Tensor, Tensor], scale: Scale, boundary: float | None) -> None:
    real, fake = (x.detach().float().cpu().numpy().ravel() for x in scores)
    finite = [x[np.isfinite(x)] for x in (real, fake)]
    combined = np.concatenate(finite)
    # A few patches far out are left out of the picture, or all others would share a bar.
    low, high = (float(x) for x in np.quantile(combined, (0.001, 0.999))) if len(combined) else (-1.0, 1.0)
    low, high = min(low, scale.boundary - 1e-3), max(high, scale.boundary + 1e-3)
    edges = np.linspace(low, high, 61)
    for values, colour, name in zip(finite, (REAL_COLOUR, FAKE_COLOUR), ("real", "generated"), strict=True):
        weights = np.full(len(values), 1 / max(len(values), 1))
        axes.hist(values, list(edges), weights=weights, color=colour, alpha=0.55, label=f"{name} patches")
    if boundary is not None:
        axes.axvline(boundary, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("logit: left of the line the discriminator says fake, right of it real" if boundary is not None
                    else "logit: the further right, the more real", color=INK, fontsize=9)  # fmt: skip
    axes.set_ylabel("share of patches", color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    low, high = axes.get_xlim()
    colour_bar = axes.inset_axes((0, -0.02, 1, 0.05))
    colour_bar.imshow(
        scale.colours(np.linspace(low, high, 256, dtype=np.float32))[None], aspect="auto", extent=(0, 1, 0, 1)
    )
    colour_bar.set_axis_off()
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(low, high)
    axes.tick_params(axis="x", pad=6)
