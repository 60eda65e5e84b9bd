"""What a newcomer does: the demo learns, and an installed wheel works from any folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def test_the_demo_learns(patchlight_train: Any, tmp_path: Path) -> None:
    outcome = patchlight_train(
        "experiment=demo", "logger=csv", "data.render.n_train=120", "data.render.n_test=20", "model.generator.ngf=16",
        "model.discriminator.ndf=16", "model.schedule.n_epochs=2", "model.schedule.n_epochs_decay=1", "trainer=cpu",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    (run,) = (tmp_path / "logs" / "demo" / "runs").iterdir()
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["protocol"]["images"] == 20
    assert figures["last"]["psnr"] > figures["untrained"]["psnr"] + 1.5
    assert figures["last"]["ssim"] > figures["untrained"]["ssim"] + 0.15
    assert " 70 x 70 px " in outcome.out


def test_an_installed_wheel_works_from_any_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import patchlight; print(patchlight.__file__)\n"
        "sys.argv[1:] = ['experiment=facades_pix2pix', '--cfg', 'job']\nfrom patchlight.cli.train import main; main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert process.stdout.startswith(str(tmp_path / "site" / "patchlight"))
    assert "direction: BtoA" in process.stdout
