"""`patchlight-eval` after a training: the same figures, from the checkpoint alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import Outcome, Typed

Eval = Callable[..., Outcome]

TINY = (
    "data.render.n_train=6", "data.render.n_test=3", "data.val_size=2", "data.load_size=32", "data.image_size=32",
    "data.num_workers=0", "model.discriminator.n_layers=1", "model.discriminator.ndf=4", "trainer=cpu", "logger=csv",
    "callbacks=[default,ema]", "trainer.max_epochs=1", "callbacks.patch_maps=null",
)  # fmt: skip
MODELS = {
    "pix2pix": ("model=pix2pix", "data=synthetic", "model/generator=unet_128", "model.generator.num_downs=5",
                "model.generator.ngf=4"),
    "cyclegan": ("model=cyclegan", "data=synthetic_unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1",
                 "model.generator.ngf=4"),
}  # fmt: skip


@pytest.fixture
def evaluated(typed: Typed) -> Eval:
    """Runs the command: exit status and both outputs."""
    return partial(typed, "evaluate")


@pytest.mark.parametrize("model", MODELS)
def test_the_figures_are_those_of_the_final_test(
    finished: Callable[..., Path], evaluated: Eval, tmp_path: Path, model: str
) -> None:
    shutil.copytree(finished(*MODELS[model], *TINY).parent, tmp_path, dirs_exist_ok=True)
    trained = json.loads((tmp_path / "run/metrics.json").read_text())
    (tmp_path / "run/checkpoints/last.ckpt").rename(tmp_path / "alone.ckpt")
    best = tmp_path / "run/checkpoints/best.ckpt"
    for path, name in (("alone.ckpt", "last"), (str(best), "best")):
        status, said, complaints = evaluated(f"ckpt={path}", f"output={name}", "n_samples=2")
        assert (status, complaints) == (0, ""), complaints
        found = json.loads((tmp_path / name / "metrics.json").read_text())
        assert found["ckpt"]["figures"] == trained[name]
        protocol = {**trained["protocol"], "best_is": None}
        assert found["protocol"] == protocol
        assert f"written: {Path(name) / 'metrics.json'}" in said
        names = {p.name for p in (tmp_path / name / "samples").iterdir()}
        assert {f"0{i}_{image}.png" for i in range(2) for image in ("real_A", "fake_B", "real_B")} <= names
        assert not any(p.startswith("02") for p in names)

    # Weights as they were trained are others; a second time nothing is lost. A metric can be added.
    squared = "metrics={squared: {_target_: torchmetrics.regression.MeanSquaredError}}"
    status, _, complaints = evaluated("ckpt=alone.ckpt", "output=raw", "weights=raw", "n_samples=0", squared)
    assert (status, complaints) == (0, "")
    raw = json.loads((tmp_path / "raw/metrics.json").read_text())
    assert raw["protocol"]["weights"] == "as trained"
    assert raw["protocol"]["metrics"]["squared"]["settings"] == {"_target_": "torchmetrics.regression.MeanSquaredError"}
    assert raw["protocol"]["metrics"]["squared"]["better"] == "lower"
    assert 0 < raw["ckpt"]["figures"].pop("squared") < raw["ckpt"]["figures"]["l1"]
    with_groups = {"l1", "psnr", "ssim", *(f"{g}/squared" for g in ("rec_A", "rec_B") if model == "cyclegan")}
    assert with_groups <= raw["ckpt"]["figures"].keys()
    assert raw["ckpt"]["figures"] != trained["last"]
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["metrics.json"]
    status, _, complaints = evaluated("ckpt=alone.ckpt", "output=raw")
    assert status == 1
    assert complaints == (
        "patchlight-eval: output=raw holds a metrics.json already: choose another folder, or overwrite=true\n"
    )


def test_other_images_and_the_validation_split(
    finished: Callable[..., Path], evaluated: Eval, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    made = finished(*MODELS["pix2pix"], *TINY).parent
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    recorded = Path(json.loads((tmp_path / "run/manifest.json").read_text())["data"]["root"])
    root = tmp_path / recorded.relative_to(made)
    (tmp_path / "other/test").mkdir(parents=True)
    first = min((root / "test").iterdir())
    shutil.copy(first, tmp_path / "other/test")
    ckpt = "ckpt=run/checkpoints/last.ckpt"
    status, _, complaints = evaluated(ckpt, "data=other", "output=one", "n_samples=1", "inference_mode=eval")
    assert (status, complaints) == (0, "")
    one = json.loads((tmp_path / "one/metrics.json").read_text())
    assert (one["protocol"]["images"], one["protocol"]["inference_mode"]) == (1, "eval")
    generated, target = (
        np.asarray(Image.open(tmp_path / f"one/samples/00_{name}.png")).astype(float) for name in ("fake_B", "real_B")
    )
    assert one["ckpt"]["figures"]["l1"] == pytest.approx(np.abs(generated - target).mean() / 127.5, abs=0.01)

    status, said, complaints = evaluated(ckpt, "split=val", "output=val", "n_samples=0")
    assert f"images:  {root}\n" in said
    assert (status, complaints) == (0, "")
    val = json.loads((tmp_path / "val/metrics.json").read_text())
    assert val["protocol"]["images"] == 2
    last = (tmp_path / "run/metrics.csv").read_text().splitlines()
    column = last[0].split(",").index("val/l1")
    logged = [float(row.split(",")[column]) for row in last[1:] if row.split(",")[column]]
    assert val["ckpt"]["figures"]["l1"] == pytest.approx(logged[-1], rel=1e-6)

    status, _, complaints = evaluated(ckpt, "data=other", "split=val", "output=none")
    assert (status, complaints) == (
        1, "patchlight-eval: split=val has no images in data=other: choose another split or data=DIR\n"
    )  # fmt: skip
    for arguments, message in (
        (("ckpt=gone.ckpt", "output=x"), "gone.ckpt is not there"),
        ((ckpt, "data=nowhere", "output=x"), "data=nowhere is not a folder: give that of the image set by data=DIR"),
        ((ckpt,), "output is not set: give output=DIR"),
        ((ckpt, "output=x", "split=train"), "split=train should be 'test' or 'val'"),
    ):
        status, _, complaints = evaluated(*arguments)
        assert status == 1
        assert complaints.startswith(f"patchlight-eval: {message}"), complaints
        assert complaints.count("\n") == 1

    # From another folder nothing is found, and nothing is rendered in silence either.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ckpt = f"ckpt={tmp_path / 'run/checkpoints/last.ckpt'}"
    monkeypatch.chdir(elsewhere)
    status, said, complaints = evaluated(ckpt, "output=figures")
    assert (status, said, complaints) == (1, "", (
        f"patchlight-eval: data.root={root.relative_to(tmp_path)} of the training is relative to the folder that it "
        f"ran in, and is not in {elsewhere}: run the command in that folder, or give the images by data=DIR\n"
    ))  # fmt: skip
    assert [path.name for path in elsewhere.rglob("*")] == ["figures"]
