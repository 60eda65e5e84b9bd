"""A small set of label maps of class indices, and of photos that show the class in their brightness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def palette_image(array: np.ndarray[Any, Any]) -> Image.Image:
    image = Image.fromarray(array.astype(np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    return image


def write_label_set(root: Path, n: int = 4, side: int = 8, *, instances: bool = False, kind: str = "P") -> None:
    """Label maps with four classes in A, in squares of 4 pixels, and photos in B."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in ("A", "B", *(["_instances"] if instances else [])):
            (root / f"{split}{folder}").mkdir(parents=True)
        for i in range(n):
            labels, numbers = (
                rng.integers(0, k, (side // 4, side // 4)).repeat(4, 0).repeat(4, 1).astype(np.uint8) for k in (4, 2)
            )
            image = palette_image(labels) if kind == "P" else Image.fromarray(labels)
            image.save(root / f"{split}A/{i}.png")
            Image.fromarray(np.repeat(labels[:, :, None] * 60, 3, axis=2)).save(root / f"{split}B/{i}.png")
            if instances:
                Image.fromarray(labels.astype(np.uint16) * 1000 + numbers).save(root / f"{split}_instances/{i}.png")
