"""`patchlight-translate` as it is typed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patchlight
from commands import Outcome, Typed
from patchlight.system.devices import has_bf16_units
from small_models import write_checkpoint

Type = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, which is not changed."""
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    write_checkpoint(path, "cyclegan")
    return path


@pytest.fixture
def typed(typed: Typed, model: Path) -> Type:
    """Runs the command in `tmp_path`, which holds model.ckpt and three images in `in`: exit status and both outputs."""
    shutil.copy(model, "model.ckpt")
    Path("in").mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"in/{i}.png")
    return partial(typed, "translate")


def test_a_folder(typed: Type, tmp_path: Path) -> None:
    status, said, complaints = typed("ckpt=model.ckpt", "input=in", "output=out", "device=cpu", "direction=BtoA")
    assert (status, complaints) == (0, "")
    # Its 8 bits round a batch and a single image apart by one level more.
    precision, tolerance = ("bfloat16", 2) if has_bf16_units(torch.device("cpu")) else ("float32", 1)
    assert said.startswith(f"BtoA on cpu in {precision}, inference_mode=eval\n3 images in ")
    assert said.endswith("a second): out\n")
    translator = patchlight.load("model.ckpt", direction="BtoA", device="cpu")
    for i in range(3):
        with Image.open(f"in/{i}.png") as source, Image.open(f"out/{i}.png") as target:
            difference = np.abs(np.asarray(target).astype(int) - np.asarray(translator(source)).astype(int))
        assert difference.max() <= tolerance
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model.ckpt", "out"]


def test_what_fails_is_listed_with_exit_status_1(typed: Type) -> None:
    Path("in/bad name.png").write_text("text", encoding="utf-8")
    status, said, complaints = typed("ckpt=model.ckpt", "input=in", "output=out", "device=cpu", "format=webp")
    assert status == 1
    assert "\n3 images in " in said
    assert complaints.splitlines() == [
        "patchlight-translate: 1 image could not be translated:",
        f"  in/bad name.png: it cannot be read as an image (cannot identify image file '{Path('in/bad name.png')}')",
    ]
    assert sorted(path.name for path in Path("out").iterdir()) == ["0.webp", "1.webp", "2.webp"]


def test_results_are_replaced_only_if_asked(typed: Type) -> None:
    given = ("ckpt=model.ckpt", "input=in/1.png", "output=out", "device=cpu")
    Path("out").mkdir()
    Path("out/1.png").write_text("mine", encoding="utf-8")
    status, said, complaints = typed(*given)
    assert (status, said) == (1, "")
    assert complaints == (
        "patchlight-translate: output=out holds 1 of the results already (out/1.png): choose another folder, or give "
        "overwrite=true\n"
    )
    assert Path("out/1.png").read_text(encoding="utf-8") == "mine"
    assert typed(*given, "overwrite=true")[0] == 0
    with Image.open("out/1.png") as image:
        assert image.size == (30, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ckpt is not set: give ckpt=PATH"),
        (["ckpt=model.ckpt"], "input is not set: give input=FILE"),
        (["ckpt=model.ckpt", "input=in"], "output is not set: give output=DIR"),
        (["chkpt=model.ckpt"], "chkpt is no key of the configuration: did you mean ckpt?"),
        (["ckpt=no.ckpt", "input=in", "output=out"], "no.ckpt is not there"),
        (["ckpt=model.ckpt", "input=no", "output=out"], "input=no is not there"),
        (["ckpt=model.ckpt", "input=in", "output=in/0.png/x"], "output=in/0.png/x cannot be made (Not a directory)"),
        (["ckpt=model.ckpt", "input=in", "output=out", "direction=AB"], "direction=AB should be 'AtoB' or 'BtoA'"),
        (["ckpt=model.ckpt", "input=in", "output=out", "batch_size=0"], "batch_size=0 should be at least 1"),
        (["ckpt=model.ckpt", "input=in", "output=out", "device=cuda:77"], "device=cuda:77 cannot be used"),
    ],
)
def test_what_is_wrong_is_one_message(arguments: list[str], message: str, typed: Type) -> None:
    status, said, complaints = typed(*arguments)
    assert (status, said) == (1, "")
    assert complaints.startswith(f"patchlight-translate: {message}")
    assert complaints.count("\n") == 1
