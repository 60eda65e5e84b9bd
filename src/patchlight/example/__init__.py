"""A small trained model that comes with the package, and label maps for it: a first look without a training."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = "example"
"""The word for the model, in place of a checkpoint, and for the label maps, in place of a folder of images."""

FOLDER = Path(__file__).parent
MODEL, IMAGES = FOLDER / "model", FOLDER / "images"
"""A model folder, as `patchlight-export format=hub` writes it, and a folder of label maps of 128 px."""


def model_path(given: str | Path) -> Path:
    """Where a checkpoint lies: `example` is the package's own, unless something of that name is there."""
    return _resolved(given, MODEL)


def images_path(given: str | Path) -> Path:
    """Where images lie: `example` are the package's own, unless something of that name is there."""
    return _resolved(given, IMAGES)


def _resolved(given: str | Path, own: Path) -> Path:
    path = Path(given).expanduser()
    return own if str(given) == EXAMPLE and not path.exists() else path
