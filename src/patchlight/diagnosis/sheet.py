"""The contact sheet: the worst examples of each check, with captions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from patchlight.data.images import read_image
from patchlight.diagnosis.diagnose import Diagnosis, Thresholds
from patchlight.diagnosis.findings import CHECKS, Check, Finding, by_check
from patchlight.diagnosis.labels import off_palette
from patchlight.diagnosis.values import whole_picture
from patchlight.errors import DataError

COLUMNS, ROW_HEIGHT, PICTURES = 4, 150, 4
"""Findings of each check, pixels of a picture's height, and pictures of each finding, at most."""

WIDTH, MARGIN, GAP = 1280, 32, 16
CARD_WIDTH = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS
CAPTION, HEADING, SECTION = 40, 46, 22
INK, MUTED, PAPER, CARD, LINE = "#262a33", "#6b7280", "#ffffff", "#f3f4f6", "#e5e7eb"
LEVEL_COLOURS = {"error": "#c62828", "warning": "#b7791f", "note": "#2b6cb0"}
OFF = (255, 0, 255)
"""In this colour, which label maps hardly ever have, stand the pixels that are off the palette."""


def worst_sheet(diagnosis: Diagnosis, title: str, summary: str, thresholds: Thresholds) -> Image.Image | None:
    """A picture with a row for each check that has something to show, or None where nothing is."""
    groups = {name: group for name, group in by_check(diagnosis.findings).items() if any(f.pictures for f in group)}
    if not groups:
        return None
    row = HEADING + ROW_HEIGHT + CAPTION + SECTION
    sheet = Image.new("RGB", (WIDTH, MARGIN + 74 + row * len(groups) + 8), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), _fit(title, _font(26, bold=True), WIDTH - 2 * MARGIN), INK, _font(26, bold=True))
    draw.text((MARGIN, MARGIN + 36), _fit(summary, _font(15), WIDTH - 2 * MARGIN), MUTED, _font(15))
    y = MARGIN + 74
    for name, group in groups.items():
        _section(draw, y, CHECKS[name], sum(finding.count for finding in group))
        for column, finding in enumerate([finding for finding in group if finding.pictures][:COLUMNS]):
            _card(sheet, draw, (MARGIN + column * (CARD_WIDTH + GAP), y + HEADING), finding, diagnosis, thresholds)
        y += row
    return sheet


def _section(draw: ImageDraw.ImageDraw, y: int, check: Check, total: int) -> None:
    """The heading of a check: its level, what it is, how many, and what to do."""
    draw.line((MARGIN, y, WIDTH - MARGIN, y), LINE, 1)
    x: float = MARGIN
    badge = _font(12, bold=True)
    wide = draw.textlength(check.level.upper(), badge) + 16
    draw.rounded_rectangle((x, y + 13, x + wide, y + 33), 5, LEVEL_COLOURS[check.level])
    draw.text((x + 8, y + 23), check.level.upper(), PAPER, badge, anchor="lm")
    x += wide + 10
    heading = f"{check.title} ({total})"
    draw.text((x, y + 23), heading, INK, _font(17, bold=True), anchor="lm")
    x += draw.textlength(heading, _font(17, bold=True)) + 14
    draw.text((x, y + 23), _fit(check.advice, _font(14), WIDTH - MARGIN - x), MUTED, _font(14), anchor="lm")


def _card(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], finding: Finding, diagnosis: Diagnosis,
    thresholds: Thresholds,
) -> None:  # fmt: skip
    """One finding: its pictures side by side, and its message below them in two lines."""
    (x, y), width = at, CARD_WIDTH
    draw.rounded_rectangle((x, y, x + width, y + ROW_HEIGHT), 6, CARD)
    pictures = _pictures(finding, diagnosis, thresholds)
    if pictures:
        room = (width - 12 - 6 * (len(pictures) - 1)) // len(pictures)
        scaled = [_scaled(picture, room, ROW_HEIGHT - 12) for picture in pictures]
        left = x + (width - sum(p.width for p in scaled) - 6 * (len(scaled) - 1)) // 2
        for picture in scaled:
            sheet.paste(picture, (left, y + (ROW_HEIGHT - picture.height) // 2))
            left += picture.width + 6
    else:
        draw.text((x + width / 2, y + ROW_HEIGHT / 2), "no picture", MUTED, _font(14), anchor="mm")
    for i, line in enumerate(_two_lines(finding.message, _font(12), width)):
        draw.text((x, y + ROW_HEIGHT + 5 + 17 * i), line, INK, _font(12))


def _pictures(finding: Finding, diagnosis: Diagnosis, thresholds: Thresholds) -> list[Image.Image]:
    found = []
    items = {f.item.path: f.item for f in diagnosis.facts}
    for path, part in finding.pictures[:PICTURES]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = whole_picture(items[path], diagnosis.expected) if path in items else read_image(path)
        except DataError:
            continue
        if part != "AB" and diagnosis.stock.layout == "side_by_side" and image.width > 1:
            half = image.width // 2
            image = image.crop((0, 0, half, image.height) if part == "A" else (half, 0, 2 * half, image.height))
        found.append(image)
        if finding.check == "label_drift" and diagnosis.palette is not None:
            array = np.array(image)
            array[off_palette(array, diagnosis.palette, thresholds.drift_levels)] = OFF
            found.append(Image.fromarray(array))
    return found


def _scaled(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib and has the letters of many languages."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or as much of its beginning and end as there is room for."""
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 2 and font.getlength(text[: keep // 2] + "…" + text[len(text) - keep // 2 :]) > width:
        keep = int(keep * 0.9) if keep > 60 else keep - 1
    return text[: keep // 2] + "…" + text[len(text) - keep // 2 :]


def _two_lines(text: str, font: ImageFont.FreeTypeFont, width: float) -> Sequence[str]:
    words, first = text.split(" "), ""
    while words and font.getlength(f"{first} {words[0]}".strip()) <= width:
        first = f"{first} {words.pop(0)}".strip()
    if not first:
        return (_fit(words[0], font, width), _fit(" ".join(words[1:]), font, width))
    return (first, _fit(" ".join(words), font, width))
