"""Image sets on the disk, and what the checks say about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom

from patchlight.diagnosis.diagnose import Diagnosis, Thresholds, diagnose


def photo(seed: int, height: int = 64, width: int = 64) -> Image.Image:
    """Smooth coloured shapes with some noise: like a photo, never twice the same."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (4, 4, 3))
    smooth = zoom(coarse, (height / 4, width / 4, 1), order=1) + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(smooth.clip(0, 255).astype(np.uint8))


PALETTE = np.array([[0, 0, 222], [255, 80, 0], [0, 200, 120], [250, 240, 10]], np.uint8)


def label_map(seed: int, height: int = 64, width: int = 64) -> Image.Image:
    """Blocks of 16 pixels in four colours."""
    classes = np.random.default_rng(seed).integers(0, len(PALETTE), (height // 16, width // 16))
    return Image.fromarray(PALETTE[classes.repeat(16, axis=0).repeat(16, axis=1)])


def side_by_side(a: Image.Image, b: Image.Image) -> Image.Image:
    return Image.fromarray(np.concatenate([np.asarray(a), np.asarray(b)], axis=1))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A set without anything wrong: six pairs to train on, two to validate and two to test."""
    root = tmp_path / "set"
    for split, first, number in (("train", 0, 6), ("val", 6, 2), ("test", 8, 2)):
        (root / split).mkdir(parents=True)
        for i in range(first, first + number):
            side_by_side(photo(i), photo(100 + i)).save(root / split / f"{i}.png")
    return root


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    """Two domains without pairs and without anything wrong."""
    root = tmp_path / "two"
    for split, number in (("train", 5), ("val", 2), ("test", 2)):
        for domain in "AB":
            folder = root / f"{split}{domain}"
            folder.mkdir(parents=True)
            for i in range(number):
                photo(sum(f"{split}{domain}".encode()) * 100 + i).save(folder / f"{domain}{i}.png")
    return root


Look = Callable[..., Diagnosis]


@pytest.fixture
def look() -> Look:
    """Looks through a set with two threads."""

    def run(root: Path, layout: Any = "auto", labels: Any = "auto", **thresholds: Any) -> Diagnosis:
        return diagnose(root, layout, labels, Thresholds(**thresholds), 2, lambda total: lambda: None)

    return run


def found(diagnosis: Diagnosis) -> dict[str, list[str]]:
    """The messages of each check."""
    result: dict[str, list[str]] = {}
    for finding in diagnosis.findings:
        result.setdefault(finding.check, []).append(finding.message)
    return result
