"""Images side by side, under their titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from patchlight.data.images import to_uint8

MARGIN, GAP, MIN_CELL = 16, 8, 128
INK, PAPER = (38, 42, 51), (255, 255, 255)


def contact_sheet(rows: Sequence[Mapping[str, Tensor]], gallery: Sequence[Sequence[tuple[str, str]]]) -> Image.Image:
    """A picture of images by name, each C H W in [-1, 1].

    `gallery` holds one block of columns per direction, each column an image's name and its title; the blocks stand
    side by side with a wider gap between them.
    """
    scale = max(1, -(-MIN_CELL // max(rows[0][name].shape[-1] for block in gallery for name, _ in block)))
    cells = [[[to_picture(row[name], scale) for name, _ in block] for block in gallery] for row in rows]
    width = max(cell.width for row in cells for block in row for cell in block)
    heights = [max(cell.height for block in row for cell in block) for row in cells]
    font_size = max(13, width // 12)
    font = ImageFont.load_default(size=font_size)
    header = int(font_size * 1.9)
    n_columns = sum(len(block) for block in gallery)
    sheet_width = 2 * MARGIN + n_columns * width + (n_columns - len(gallery)) * GAP + (len(gallery) - 1) * 3 * GAP
    sheet_height = MARGIN + header + sum(heights) + (len(rows) - 1) * GAP + MARGIN
    sheet = Image.new("RGB", (sheet_width, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    x = MARGIN
    for b, block in enumerate(gallery):
        for c, (_, title) in enumerate(block):
            draw.text((x + width / 2, MARGIN + header * 0.35), title, fill=INK, font=font, anchor="mm")
            y = MARGIN + header
            for row, height in zip(cells, heights, strict=True):
                sheet.paste(row[b][c], (x, y))
                y += height + GAP
            x += width + GAP
        x += 2 * GAP
    return sheet


def to_picture(image: Tensor, scale: int = 1) -> Image.Image:
    """An RGB picture of an image, C H W in [-1, 1], each pixel `scale` pixels wide.

    Shown are the first three channels, or of one or two the first in gray.
    """
    array = to_uint8(image)
    picture = Image.fromarray(np.repeat(array[:, :, :1], 3, axis=2) if array.shape[2] < 3 else array[:, :, :3])
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
