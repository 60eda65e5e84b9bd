"""What a whole training prints on terminals of 80 and 120 columns: no line is longer, and none ends within a value."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import rich
from rich.console import Console

from commands import call_main

METHODS = {
    "pix2pix": ("data=paired", "model/generator=unet_128", "model.generator.num_downs=6"),
    "cyclegan": ("data=unpaired", "model.generator.n_blocks=1"),
    "cut": ("data=unpaired", "model.generator.n_blocks=1"),
}
TINY = (
    "data.image_size=64", "data.load_size=64", "data.num_workers=0", "trainer=cpu", "trainer.max_epochs=2",
    "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "model.generator.ngf=4",
    "model.discriminator.ndf=4", "logger=csv", "callbacks.patch_maps=null", "callbacks.progress.refresh_rate=0",
    "evaluate_untrained=true",
)  # fmt: skip

VALUE = re.compile(r"\d (?:x \d|px|M|k|s|%|img/s|MiB|GB)\b|\b[a-z]\w* -?\d+\.\d+")
"""What stays on one line: a number with its unit, sizes, a figure with its name."""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("method", METHODS)
def test_lines_fit_and_values_are_whole(
    method: str, columns: int, tiny_sets: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, *overrides = METHODS[method]
    root = tiny_sets(kind.partition("=")[2])
    screen = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=screen, width=columns, force_terminal=True, color_system=None))
    arguments = [kind, f"model={method}", *overrides, *TINY, f"data.root={root}", "hydra.run.dir=run"]
    assert call_main("train", *arguments) == 0
    lines = screen.getvalue().splitlines()
    assert [line for line in lines if len(line) > columns] == []
    # The log has every line as it was before it was wrapped.
    logged = [line.partition("] - ")[2] for line in Path("run/train.log").read_text(encoding="utf-8").splitlines()]
    values = [value for line in logged for value in VALUE.findall(line)]
    assert len(values) >= 8
    assert sorted(value for line in lines for value in VALUE.findall(line)) == sorted(values)
    assert sum(line.startswith("epoch ") for line in lines) == 2
