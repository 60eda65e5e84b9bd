"""Exported files, opened where there is no Patchlight."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import patchlight
from commands import Typed
from patchlight.exporting import parity, run
from patchlight.exporting.graph import ImageGraph
from patchlight.methods import TranslationMethod

Make = Callable[..., TranslationMethod]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "patchlight":
            raise ImportError("there is no patchlight here")

sys.meta_path.insert(0, Blocker())
"""


def snippets() -> list[str]:
    """The Python examples of the documentation."""
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)


def without_patchlight(code: str) -> str:
    """What code prints in a Python that cannot import patchlight."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKER + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(said: str) -> list[float]:
    """The differences that the command printed."""
    return [float(number) for number in re.findall(r"\d+ x \d+x\d+: ([\d.e+-]+)", said)]


# Slow: PyTorch's exporter takes some seconds, as does a Python that imports ONNX Runtime.
@pytest.mark.untraced
def test_onnx_of_a_pix2pix_as_it_was_tested(
    make: Make, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(parity, "SECONDS", 0.001)  # to measure the speed is enough, whatever it is
    make("pix2pix", "data.image_size=64", ema=True)
    status, said, complaints = typed(
        "export", "ckpt=model.ckpt", "output=model.onnx", "range=bytes", "license=CC-BY-4.0"
    )
    assert (status, complaints) == (0, "")
    assert "the dropout that they had is left out" in said
    assert len(figures(said)) == 2
    assert max(figures(said)) <= 1
    assert re.search(r"images a second by ONNX Runtime, [\d.]+ by PyTorch as it is: a ratio of [\d.]+ \(64x64", said)
    assert [path.name for path in Path().iterdir() if path.name != "model.ckpt"] == ["model.onnx"]

    translator = patchlight.load("model.ckpt", device="cpu")
    graph = ImageGraph(translator.generator, "bytes", "paper")
    images = graph.random_image((2, 3, 32, 64), seed=5)
    np.save("image.npy", images.numpy())
    (plain, *_) = snippets()
    code = f"import os; os.chdir({str(Path.cwd())!r})\n" + plain + "\nnp.save('result.npy', translation)\n"
    description = json.loads(without_patchlight(code + "import json; print(json.dumps(description))").splitlines()[-1])
    difference = np.abs(np.load("result.npy").astype(int) - graph(images).numpy().astype(int))
    assert difference.max() <= 1
    expected = {
        "direction": "AtoB", "in_channels": "3", "out_channels": "3", "value_range": "uint8, 0 to 255",
        "size_multiple": "32", "inference_mode": "paper", "weights": "ema", "license": "CC-BY-4.0",
        "producer": f"patchlight {patchlight.__version__}", "trained_with": f"patchlight {patchlight.__version__}",
    }  # fmt: skip
    assert {key: description[key] for key in expected} == expected
    assert re.fullmatch(r"unknown|[0-9a-f]{40}(, changed)?", description["commit"])
    assert json.loads(description["model"])["generator"]["num_downs"] == 5
    assert "somewhere" not in str(description)


# Slow: PyTorch's exporter takes some seconds, as does a Python that imports torch.
@pytest.mark.untraced
def test_pt2_of_a_cyclegan_the_other_way(make: Make, typed: Typed) -> None:
    make("cyclegan", "data.image_size=32")
    status, said, complaints = typed(
        "export", "ckpt=model.ckpt", "output=model.pt2", "direction=BtoA", "range=unit", "speed=false"
    )
    assert (status, complaints) == (0, "")
    assert max(figures(said)) <= 1e-6
    assert "images a second" not in said
    graph = ImageGraph(patchlight.load("model.ckpt", device="cpu", direction="BtoA").generator, "unit", "eval")
    images = graph.random_image((3, 3, 36, 52), seed=2)
    torch.save(images, "image.pt")
    plain = snippets()[1]
    code = f"import os; os.chdir({str(Path.cwd())!r})\n" + plain + "\ntorch.save(translation, 'result.pt')\n"
    description = json.loads(without_patchlight(code + "print(json.dumps(description))").splitlines()[-1])
    assert torch.allclose(torch.load("result.pt"), graph(images), atol=1e-6)
    assert description["direction"] == "BtoA"
    assert description["license"] == "not stated"


def test_safetensors_fill_a_plain_network(make: Make, typed: Typed) -> None:
    make("cyclegan", "data.image_size=32")
    status, said, _ = typed("export", "ckpt=model.ckpt", "output=model.safetensors", "networks=all")
    assert status == 0
    assert "tensors of generator_ab, generator_ba, discriminator_a, discriminator_b, equal to the bit" in said
    translator = patchlight.load("model.ckpt", device="cpu")
    images = torch.rand(2, 3, 32, 40) * 2 - 1
    torch.save(images, "image.pt")
    plain = snippets()[2]
    code = f"import os; os.chdir({str(Path.cwd())!r})\n" + plain + "\ntorch.save(translation, 'result.pt')\n"
    without_patchlight(code)
    assert torch.allclose(torch.load("result.pt"), translator(images), atol=1e-6)


def test_a_file_that_computes_something_else_is_not_kept(
    make: Make, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("cyclegan")
    right = run.open_graph

    def wrong(kind: str, file: Path) -> object:
        compute, description = right(kind, file)  # type: ignore[arg-type]
        return lambda image: compute(image) + 2e-4, description

    monkeypatch.setattr(run, "open_graph", wrong)
    status, _, complaints = typed("export", "ckpt=model.ckpt", "output=model.pt2")
    assert status == 1
    assert "model.pt2 differs from PyTorch by 0.0002, more than 0.0001: no file was kept" in complaints
    assert [path.name for path in Path().iterdir()] == ["model.ckpt"]


def test_a_full_disk_is_one_message(make: Make, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    make("cyclegan")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "write_graph", full)
    status, _, complaints = typed("export", "ckpt=model.ckpt", "output=model.pt2")
    assert status == 1
    assert complaints == (
        "patchlight-export: model.pt2 cannot be written (No space left on device): make room or choose another place\n"
    )


def test_missing_packages_are_named(make: Make, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    make("cyclegan")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _, _, complaints = typed("export", "ckpt=model.ckpt", "output=model.onnx")
    assert "output=model.onnx needs onnx, onnxscript, onnxruntime: pip install 'patchlight[onnx]'" in complaints


def test_an_untrained_direction_is_refused(make: Make, typed: Typed) -> None:
    make("cyclegan")
    checkpoint = torch.load("model.ckpt", weights_only=True)
    checkpoint["patchlight"]["untrained"] = ["generator_ba"]
    torch.save(checkpoint, "model.ckpt")
    _, _, complaints = typed("export", "ckpt=model.ckpt", "output=model.pt2", "direction=BtoA")
    assert "direction=BtoA has a generator with initial weights in model.ckpt" in complaints
