"""Puts samples of some runs, of the same validation images, into one picture, as in README.md and docs/results.md.

    python benchmarks/gallery.py output.png "paper=RUN1" "fast=RUN2" [--images 0 3 5] [--target real_B]

Each image has a column, with its input on top, below it what each run made of it, and its target at the bottom. Runs
keep their samples in `RUN/samples/latest`.
"""

from __future__ import annotations

import argparse
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

GAP, LABEL_GAP, INK = 6, 12, "#262a33"
"""Pixels between pictures, pixels between a label and its row, and the colour of labels."""


def gallery(rows: list[tuple[str, list[Path]]], side: int) -> Image.Image:
    """A picture of labelled rows of square images, each `side` pixels wide."""
    font = ImageFont.load_default(size=15)
    left = max(ceil(font.getlength(line)) for label, _ in rows for line in label.splitlines()) + LABEL_GAP
    n_columns = len(rows[0][1])
    size = left + n_columns * (side + GAP) - GAP, len(rows) * (side + GAP) - GAP
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, paths) in enumerate(rows):
        top = row * (side + GAP)
        draw.multiline_text((left - LABEL_GAP, top + side / 2), label, fill=INK, font=font, anchor="rm", align="right")
        for column, path in enumerate(paths):
            with Image.open(path) as picture:
                image = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(image, (left + column * (side + GAP), top))
    return sheet


def main() -> None:
    """Read the command line, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="a .png, .jpg or .webp file")
    parser.add_argument("runs", nargs="+", metavar="LABEL=RUN", help="the word beside a row, and the folder of a run")
    parser.add_argument("--images", type=int, nargs="+", default=[0, 1, 2, 3], help="numbers of the samples")
    parser.add_argument("--result", default="fake_B", help="which picture of a run is its result")
    parser.add_argument("--source", default="real_A", help="which picture is the input")
    parser.add_argument("--target", help="which picture is the target, as real_B; without it there is none")
    parser.add_argument("--side", type=int, default=128, help="pixels on a side of each image")
    args = parser.parse_args()
    runs = [(label, Path(run) / "samples" / "latest") for label, _, run in (text.partition("=") for text in args.runs)]

    def row(label: str, folder: Path, name: str) -> tuple[str, list[Path]]:
        paths = [folder / f"{number:02d}_{name}.png" for number in args.images]
        if missing := [path for path in paths if not path.is_file()]:
            parser.error(f"{missing[0]} is not there")
        return label, paths

    rows = [row("input", runs[0][1], args.source), *(row(label, folder, args.result) for label, folder in runs)]
    rows += [row("target", runs[0][1], args.target)] if args.target else []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    gallery(rows, args.side).save(args.output, quality=88)


if __name__ == "__main__":
    main()
