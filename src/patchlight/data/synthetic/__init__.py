"""The built-in image set: procedural facades, rendered at first use into the folder layout of any other set."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from patchlight.data.sources import Pairing
from patchlight.errors import DataError

FORMAT = 2
"""Goes up with any change that makes other pixels of the same seed."""

RECORD = "synthetic.json"


@dataclass(frozen=True)
class SyntheticSet:
    """Procedural facades: label map (A) and photo (B), or by day (A) and other ones in the evening (B).

    `size` is the side of an image in pixels, at least 64. Image i of a split depends on the seed, the split, its domain
    and i only.

    Raises:
        DataError: a number out of range.
    """

    n_train: PositiveInt = 400
    n_test: NonNegativeInt = 100
    size: Annotated[int, Field(ge=64)] = 256
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        for name, minimum in (("n_train", 1), ("n_test", 0), ("size", 64), ("seed", 0)):
            value = asdict(self)[name]
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise DataError(f"data.render.{name}={value} should be an integer of at least {minimum}")

    def write(self, root: Path, pairing: Pairing) -> None:
        """Render the set into `root`, unless it is there already.

        Whoever finishes first puts the whole folder in its place: a run that is killed leaves no half set behind, and
        two that start together do not disturb one another.

        Raises:
            DataError: `root` holds something else.
        """
        record = {"format": FORMAT, "pairing": pairing, **asdict(self)}
        if root.is_file() or (root.is_dir() and any(root.iterdir())):
            _require_same(root, record)
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
        try:
            self._render_into(temporary, pairing)
            (temporary / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            temporary.chmod(0o755)
            try:
                temporary.rename(root)
            except OSError:
                _require_same(root, record)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _render_into(self, root: Path, pairing: Pairing) -> None:
        """Threads, not processes: most of the time is spent outside the interpreter, and they work in any process."""
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # OpenCV's own threads get in the way of one thread per image
        try:
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                for split, n_images in (("train", self.n_train), ("test", self.n_test)):
                    for domain in ("pair",) if pairing == "paired" else ("A", "B"):
                        folder = root / (split if domain == "pair" else f"{split}{domain}")
                        folder.mkdir()
                        write = partial(_write_image, folder, self.seed, self.size, split, domain)
                        list(pool.map(write, range(n_images)))
        finally:
            cv2.setNumThreads(threads)


def _write_image(folder: Path, seed: int, size: int, split: str, domain: str, i: int) -> None:
    """A pair, or the image of domain A or B of an unpaired set."""
    from patchlight.data.synthetic.render import render_pair, render_scene  # only where a set is not there yet

    place = ("train", "test").index(split), ("pair", "A", "B").index(domain)
    rng = np.random.default_rng(np.random.SeedSequence([seed, *place, i]))
    if domain == "pair":
        image = np.concatenate(render_pair(rng, size), axis=1)
    else:
        image = render_scene(rng, size, evening=domain == "B")
    path = folder / f"{i:05d}.png"
    if not cv2.imwrite(str(path), image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise DataError(f"{path} cannot be written: is there space, and may this folder be written to?")


def _require_same(root: Path, record: dict[str, object]) -> None:
    """Raise a DataError unless `root` holds the set of this record."""
    try:
        found = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == record:
        return
    if isinstance(found, dict):
        differing = [f"{key} {found.get(key)}, not {value}" for key, value in record.items() if found.get(key) != value]
        what = f"another synthetic set ({'; '.join(differing)})"
    else:
        what = f"something other than a synthetic set: it has no readable {RECORD}"
    raise DataError(f"data.root={root} holds {what}. Remove that folder or choose another data.root")
