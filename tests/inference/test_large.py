"""A photo of 24 million pixels: bounded memory, and no seams."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchlight.inference.tiles import Cuts, Grid
from patchlight.methods import TranslationMethod

WIDTH, HEIGHT = 6000, 4000

MEASURED = """
import resource, sys
from patchlight.cli.translate import main
sys.argv = ["patchlight-translate", *sys.argv[1:]]
main()
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def borders(cuts: Cuts) -> list[int]:
    """The pixels after which a tile begins or ends."""
    ends = [start + cuts.tile for start in cuts.starts[:-1]]
    return [place - 1 for place in (*cuts.starts[1:], *ends)]


@pytest.mark.slow
def test_memory_is_bounded_and_seams_are_not_seen(
    make: Callable[..., tuple[Path, TranslationMethod]], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg", quality=95)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"ckpt={make('cyclegan')[0]}", f"input={tmp_path / 'photo.jpg'}",
         f"output={tmp_path / 'out'}", "format=png", "device=cpu", "patchmap=true"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak = int(done.stdout.split("peak ")[1]) * 1024
    assert peak < 2.5 * 2**30
    with Image.open(tmp_path / "out" / "photo.png") as image:
        result = np.asarray(image).astype(np.int16)
    assert result.shape == (HEIGHT, WIDTH, 3)
    grid = Grid.of(HEIGHT, WIDTH, "auto", 4)
    assert grid is not None
    for axis, cuts in ((0, grid.rows), (1, grid.columns)):
        steps = np.abs(np.diff(result, axis=axis)).mean(axis=(1 - axis, 2))
        at = borders(cuts)
        assert len(at) >= 8
        assert steps[at].mean() <= 1.1 * np.delete(steps, at).mean()
    with Image.open(tmp_path / "out" / "photo_patchmap.png") as drawn:
        assert drawn.size == (2000, 1334)
