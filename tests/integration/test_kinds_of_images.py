"""Trainings on images that are no colours of 8 bits, and what their checkpoints are good for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from PIL import Image

import patchlight
from commands import Typed
from patchlight.data.lab import rgb_to_lab
from patchlight.exporting.graph import open_graph

SMALL = (
    "data.root=set", "data.image_size=32", "data.load_size=36", "data.num_workers=0", "logger=csv", "trainer=cpu",
    "trainer.max_steps=2", "trainer.max_epochs=2", "model=pix2pix", "model/generator=resnet_6",
    "model.generator.n_blocks=1", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "model.discriminator.n_layers=2", "hydra.run.dir=run",
)  # fmt: skip

BANDS = (
    "data=paired", "data.channels_a=4", "data.depth_a=uint16", "data.range_a=[0,10000]", "data.display_a=[3,2,1]",
    "data.channels_b=1", "data.depth_b=float32", "data.range_b={percentiles: [0, 100]}", "data.mask=true",
)  # fmt: skip


def write_bands(root: Path, n: int = 2, side: int = 40) -> None:
    """Four bands of 16 bits, in a PNG or as pages of a TIFF, a thermal image, and masks of its left part."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in ("A", "B", "_mask"):
            (root / f"{split}{folder}").mkdir(parents=True)
        for i in range(n):
            base = cv2.resize(rng.random((4, 4, 4)), (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
            a = (100 + base * 8900).round().astype(np.uint16)
            if i:
                cv2.imwrite(str(root / f"{split}A/{i}.png"), a[:, :, [2, 1, 0, 3]])
            else:
                first, *others = (Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(a, 2, 0))
                first.save(root / f"{split}A/{i}.tif", save_all=True, append_images=others)
            np.save(root / f"{split}B/{i}.npy", (250 + base[:, :, :1] * 60).astype(np.float32))
            mask = np.zeros((side, side), np.uint8)
            mask[:, : side // 2] = 1
            Image.fromarray(mask).save(root / f"{split}_mask/{i}.png")


# Some seconds: a training, and every command on its checkpoint.
def test_sixteen_bits_and_floating_point(typed: Typed) -> None:
    write_bands(Path("set"))
    outcome = typed("train", *SMALL, *BANDS)
    assert outcome.status == 0, outcome.err
    ((low, high),) = yaml.safe_load(Path("run/config.yaml").read_text())["data"]["range_b"]
    truth = np.stack([np.load(path) for path in sorted(Path("set/trainB").glob("*.npy"))])
    assert (low, high) == pytest.approx((truth.min(), truth.max()), rel=1e-5)
    shown = np.asarray(Image.open("run/samples/latest/00_real_A.png")).astype(float)
    bands = np.dstack([np.asarray(page) for page in _pages("set/valA/0.tif")])
    ratio = cv2.resize(bands[:, :, [2, 1, 0]].astype(np.float32) / 10000 * 255, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(shown - ratio).mean() < 4
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["protocol"]["values"]["A"] == "4 channels of uint16, 0 to 10000"

    outcome = typed("translate", "ckpt=run/checkpoints/last.ckpt", "input=set/testA", "output=out", "device=cpu",
                    "precision=32-true", "patchmap=true")  # fmt: skip
    assert outcome.status == 0, outcome.err
    results = {path.name: np.asarray(Image.open(path)) for path in Path("out").glob("*.tif")}
    assert sorted(results) == ["0.tif", "1.tif"]
    translator = patchlight.load("run/checkpoints/last.ckpt", device="cpu")
    bands = np.dstack([np.asarray(page) for page in _pages("set/testA/0.tif")])
    expected = translator(bands)
    assert results["0.tif"].dtype == np.float32
    assert np.array_equal(results["0.tif"], expected)
    assert low <= expected.min() < expected.max() <= high
    large = np.tile(bands, (10, 10, 1))
    tiled, whole = (patchlight.load("run/checkpoints/last.ckpt", device="cpu", tile=t)(large) for t in (384, None))
    assert tiled.dtype == np.float32
    assert np.abs(tiled - whole).max() < 0.1 * (high - low)
    assert Path("out/1_patchmap.png").is_file()

    outcome = typed("evaluate", "ckpt=run/checkpoints/last.ckpt", "output=evaluated", "num_workers=0")
    assert outcome.status == 0, outcome.err
    again = json.loads(Path("evaluated/metrics.json").read_text())["ckpt"]["figures"]
    assert again["l1"] == pytest.approx(metrics["last"]["l1"], rel=1e-5)

    outcome = typed("export", "ckpt=run/checkpoints/last.ckpt", "output=m.onnx", "range=values", "speed=false",
                    "inference_mode=eval")  # fmt: skip
    assert outcome.status == 0, outcome.err
    compute, said = open_graph("onnx", Path("m.onnx"))
    found = compute(torch.from_numpy(bands.astype(np.float32)).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    own = patchlight.load("run/checkpoints/last.ckpt", device="cpu", inference_mode="eval")(bands)
    assert np.abs(found[:, :, 0] - own).max() < 1e-3 * (high - low)
    assert said["layout"].startswith("B C H W, 4 channels of uint16, 0 to 10000; out 1 channel of float32, ")
    assert onnx.load("m.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    outcome = typed("export", "ckpt=run/checkpoints/last.ckpt", "output=b.onnx", "range=bytes", "speed=false")
    assert outcome.status == 1
    assert "range=bytes is of 8-bit colours, and images are 4 channels of uint16" in outcome.err


def _pages(path: str) -> list[Image.Image]:
    pages = []
    with Image.open(path) as image:
        for i in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(i)
            pages.append(image.copy())
    return pages


# Some seconds: a training and a translation.
def test_colorization(typed: Typed) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        Path(f"set/{split}").mkdir(parents=True)
        for i in range(2):
            small = rng.integers(0, 256, (5, 5, 3), np.uint8)
            Image.fromarray(small).resize((40, 40), Image.Resampling.BILINEAR).save(f"set/{split}/{i}.png")
    outcome = typed("train", *SMALL, "data=colorization")
    assert outcome.status == 0, outcome.err
    latest = {path.stem[3:]: np.asarray(Image.open(path)) for path in Path("run/samples/latest").glob("00_*_?.png")}
    assert {name: image.shape for name, image in latest.items()} == dict.fromkeys(
        ("real_A", "real_B", "fake_B"), (32, 32, 3)
    )
    assert np.ptp(latest["real_A"].astype(int), axis=2).max() <= 1, "the input is shown in gray"
    outcome = typed("translate", "ckpt=run/checkpoints/last.ckpt", "input=set/test", "output=out", "device=cpu",
                    "precision=32-true", "patchmap=true")  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert_lightness_kept(np.array(Image.open("set/test/0.png")), np.array(Image.open("out/0.png")))
    deep = rng.integers(0, 65536, (400, 40, 3)).astype(np.uint16)
    for precision, tile in (("bf16", None), ("32-true", 384)):
        made = patchlight.load("run/checkpoints/last.ckpt", device="cpu", precision=precision, tile=tile)(deep)
        assert made.dtype == np.uint16
        assert_lightness_kept(deep, made)
    gray = np.asarray(Image.open("set/test/0.png").convert("L"))
    coloured = patchlight.load("run/checkpoints/last.ckpt", device="cpu")(gray)
    assert coloured.shape == (40, 40, 3)
    outcome = typed("train", "model=cyclegan", *(w for w in SMALL if not w.startswith("model")), "data=colorization",
                    "data.pairing=unpaired")  # fmt: skip
    assert outcome.status == 1
    assert "data.colorization=true: CycleGAN translates into domain A, too, and lightness alone cannot" in outcome.err


def assert_lightness_kept(before: Any, after: Any) -> None:
    """That L is the same but for the rounding of red, green and blue to levels: by half of one at most."""
    full = np.iinfo(after.dtype).max
    shift = 0.5 / full
    wanted, low, high = (
        rgb_to_lab(torch.from_numpy(array / full + by).permute(2, 0, 1))[0]
        for array, by in ((before, 0.0), (after, -shift), (after, shift))
    )
    assert ((low - 1e-4 < wanted) & (wanted < high + 1e-4)).all()
