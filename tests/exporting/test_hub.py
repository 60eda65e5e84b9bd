"""`patchlight-export format=hub`: the folder, its card, and `patchlight.load` of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import patchlight
from commands import Typed
from patchlight.checkpoint import EMA_KEY
from patchlight.errors import ConfigError, DataError
from patchlight.exporting.card import slug
from patchlight.inference.loading import TrainedModel
from patchlight.methods import TranslationMethod

Make = Callable[..., TranslationMethod]

PROTOCOL: dict[str, Any] = {
    "split": "test", "images": 7, "image_size": 256, "preprocess": "resize_and_crop", "inference_mode": "paper",
    "batch_size": 1, "weights": "as trained", "precision": "32-true", "files": "0123456789ab",
    "metrics": {"l1": "mean absolute error", "lpips": {"what": "AlexNet | v0.1"}, "fid": "not measured"},
}  # fmt: skip


def make_run(make: Make, model: str, *overrides: str, ema: bool = False) -> TranslationMethod:
    """A checkpoint in the folder of a run that was tested."""
    method = make(model, "data.root=/home/somebody/sets/facades", *overrides, ema=ema)
    latest = Path("run/samples/latest")
    latest.mkdir(parents=True)
    Path("run/checkpoints").mkdir()
    Path("model.ckpt").rename("run/checkpoints/best.ckpt")
    for name in ("00_real_A", "00_fake_B", "00_discriminator_fake", "09_real_A"):
        Image.new("RGB", (8, 8), "red").save(latest / f"{name}.png")
    for step in (10, 20):
        Image.new("RGB", (step, 8), "blue").save(f"run/samples/step_{step:08d}.png")
    figures = {"l1": 0.25, "lpips": 0.5, "psnr": None}
    content = {"last": {"l1": 0.9}, "best": figures, "protocol": PROTOCOL}
    Path("run/metrics.json").write_text(json.dumps(content), encoding="utf-8")
    geometry = {"discriminator": {"receptive_field": 70}}
    images = {"train": {"A": 400, "B": 400}, "test": {"A": 7, "B": 6}}
    manifest = {"git": {"commit": "abc123"}, "discriminators": geometry, "data": {"images": images}}
    Path("run/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return method


def parts_of(card: Path) -> tuple[dict[str, Any], str]:
    _, front, body = card.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_folder_is_the_model(make: Make, typed: Typed) -> None:
    """Loaded again, it translates to the level as the checkpoint does; nothing of this machine's paths stands in it."""
    method = make_run(make, "pix2pix", "model.generator.dropout=false")
    checkpoint = "run/checkpoints/best.ckpt"
    status, said, complaints = typed("export", f"ckpt={checkpoint}", "output=out", "format=hub", "license=CC-BY-4.0")
    assert (status, complaints) == (0, "")
    assert "generator: equal to the bit when read again" in said
    names = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    pictures = ["samples.png", "samples/00_fake_B.png", "samples/00_real_A.png"]
    assert names == ["README.md", "config.json", "model.safetensors", *pictures]
    with Image.open("out/samples.png") as sheet:
        assert sheet.width == 20

    assert Path("out/model.safetensors").stat().st_mode == Path("out/config.json").stat().st_mode, "others may read it"
    tensors = load_file("out/model.safetensors")
    own = {f"generator.{key}": value for key, value in method.get_submodule("generator").state_dict().items()}
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[key], value) for key, value in own.items())
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    translated = [np.asarray(patchlight.load(path, device="cpu")(image)) for path in (checkpoint, "out")]
    assert np.array_equal(*translated)
    assert "somebody" not in "".join(Path("out", name).read_text(encoding="utf-8") for name in names[:2])
    with pytest.raises(ConfigError, match=r"out was imported without the discriminator of direction=AtoB"):
        TrainedModel("out").patch_scorer()


def test_what_the_card_says(make: Make, typed: Typed) -> None:
    """Read by the hub's own library, too."""
    hub = pytest.importorskip("huggingface_hub")
    make_run(make, "pix2pix")
    said = typed("export", "ckpt=run/checkpoints/best.ckpt", "output=out", "format=hub", "license=CC-BY-4.0")[1]
    assert "note: " not in said
    front, body = parts_of(Path("out/README.md"))
    assert {key: front[key] for key in front if key != "model-index"} == {
        "license": "cc-by-4.0", "library_name": "patchlight", "pipeline_tag": "image-to-image",
        "tags": ["image-to-image", "pix2pix", "gan", "patchgan", "facades"],
    }  # fmt: skip
    results = hub.ModelCard(Path("out/README.md").read_text(encoding="utf-8")).data.eval_results
    found = [(r.task_type, r.dataset_type, r.dataset_split, r.metric_type, r.metric_value) for r in results]
    assert found == [("image-to-image", "facades", "test", name, v) for name, v in (("l1", 0.25), ("lpips", 0.5))]
    for line in (
        "# Pix2Pix on facades", "![samples](samples.png)", "| images of train | 400 |",
        "| images of test | 7 of A, 6 of B |", "| receptive field of discriminator | 70 px |", "| lpips | 0.5 |",
        "| commit of the code | abc123 |", "| preprocess | resize_and_crop |",
        '| lpips | {"what": "AlexNet \\| v0.1"} |',
        "`CC-BY-4.0`, of the weights.", "It was tested with `inference_mode=paper`.",
    ):  # fmt: skip
        assert line in body
    assert "psnr" not in body
    assert "not measured" not in body


def test_both_directions_and_averages(make: Make, typed: Typed) -> None:
    method = make_run(make, "cyclegan", ema=True)
    arguments = ["export", "ckpt=run/checkpoints/best.ckpt", "format=hub", "samples=false"]
    status, said, complaints = typed(*arguments, "output=out", "networks=all", "license=my own terms")
    assert (status, complaints) == (0, "")
    assert "no sample pictures" in said
    model = TrainedModel("out")
    assert model.untrained == frozenset()
    assert EMA_KEY not in model.checkpoint
    key = next(key for key in method.state_dict() if key.startswith("generator_ab") and key.endswith("weight"))
    assert torch.equal(model.checkpoint["state_dict"][key], method.state_dict()[key] * 0.5)
    assert model.patch_scorer(direction="BtoA").boundary == method.boundary
    front, body = parts_of(Path("out/README.md"))
    assert (front["license"], front["license_name"], "model-index" in front) == ("other", "my-own-terms", False)
    assert "Translates images AtoB and BtoA" in body
    assert "None: the run was tested with other weights (as trained)." in body
    # The raw weights are those of the test.
    assert typed(*arguments, "output=raw", "weights=raw")[0] == 0
    front, _ = parts_of(Path("raw/README.md"))
    assert [m["value"] for m in front["model-index"][0]["results"][0]["metrics"]] == [0.25, 0.5]
    assert "license" not in front


def test_a_checkpoint_without_its_run_has_no_figures(make: Make, typed: Typed) -> None:
    make("pix2pix")
    status, said, _ = typed("export", "ckpt=model.ckpt", "output=out", "format=hub")
    assert status == 0
    assert "note: the card states no licence of the weights" in said
    body = parts_of(Path("out/README.md"))[1]
    assert "None: the checkpoint does not lie in the folder of its run, or the run was not tested." in body
    assert "Not stated." in body


def test_nothing_is_overwritten_unless_asked(make: Make, typed: Typed) -> None:
    make("pix2pix")
    arguments = ["export", "ckpt=model.ckpt", "output=out", "format=hub"]
    Path("out").mkdir()
    Path("out/README.md").write_text("precious", encoding="utf-8")
    status, _, complaints = typed(*arguments)
    assert status == 1
    assert "output=out/README.md is there already" in complaints
    assert [path.name for path in Path("out").iterdir()] == ["README.md"]
    assert typed(*arguments, "overwrite=true")[0] == 0
    assert Path("out/README.md").read_text(encoding="utf-8").startswith("---\n")
    for extra, message in (("range=bytes", "format=hub writes weights alone"), ("output=o.pt2", "should be a folder")):
        status, _, complaints = typed(*arguments, extra)
        assert (status, message in complaints) == (1, True)


def test_other_files_are_never_taken_away(make: Make, typed: Typed) -> None:
    """Neither those of the run, which cannot be the output, nor any that no export writes."""
    make_run(make, "pix2pix")
    before = sorted(Path("run").rglob("*"))
    arguments = ["export", "ckpt=run/checkpoints/best.ckpt", "format=hub", "overwrite=true"]
    Path("linked").mkdir()
    Path("linked/samples").symlink_to(Path("run/samples").absolute())
    for output in ("run", "run/checkpoints/..", "linked"):
        status, _, complaints = typed(*arguments, f"output={output}")
        assert status == 1
        assert f"output={Path(output)} is the folder of the run" in complaints
        assert "choose another folder" in complaints
    assert sorted(Path("run").rglob("*")) == before
    Path("out/samples").mkdir(parents=True)
    for name in ("mine.png", "03_fake_B.png", "09_real_A.png"):
        Path("out/samples", name).write_bytes(b"other")
    assert typed(*arguments, "output=out")[0] == 0
    names = sorted(path.name for path in Path("out/samples").iterdir())
    assert names == ["00_fake_B.png", "00_real_A.png", "09_real_A.png", "mine.png"], "03 is of an earlier export"
    Path("file").mkdir()
    Path("file/samples").write_bytes(b"other")
    status, _, complaints = typed(*arguments, "output=file")
    assert (status, "output=file/samples is no folder of sample pictures" in complaints) == (1, True)


def test_a_folder_is_data_like_a_checkpoint(make: Make, typed: Typed) -> None:
    """Names of code that is not on the list, damage, and what is missing: one message, and nothing is imported."""
    make("pix2pix")
    assert typed("export", "ckpt=model.ckpt", "output=good", "format=hub")[0] == 0
    record = json.loads(Path("good/config.json").read_text(encoding="utf-8"))

    def refused(change: Callable[[Path], object]) -> str:
        shutil.rmtree("bad", ignore_errors=True)
        shutil.copytree("good", "bad")
        change(Path("bad"))
        with pytest.raises(DataError) as error:
            patchlight.load("bad", device="cpu")
        return str(error.value)

    def with_record(**parts: Any) -> Callable[[Path], object]:
        return lambda folder: (folder / "config.json").write_text(json.dumps(record | parts), encoding="utf-8")

    evil = {"_target_": "os.system", "command": "touch made"}
    config = record["config"] | {"model": record["config"]["model"] | {"generator": evil}}
    assert "names code that is not Patchlight's own" in refused(with_record(config=config))
    assert not Path("made").exists()
    config = record["config"] | {"model": record["config"]["model"] | {"generator": "${oc.env:HOME}"}}
    assert "holds an interpolation, which is never evaluated" in refused(with_record(config=config))
    assert "is newer than this" in refused(with_record(format=3, version="9.9"))
    assert "its record has no config" in refused(_without(record, "config"))
    assert "config.json is damaged" in refused(lambda folder: (folder / "config.json").write_text("[", "utf-8"))
    assert "bad has no model.safetensors" in refused(lambda folder: (folder / "model.safetensors").unlink())
    cut = Path("good/model.safetensors").read_bytes()[:-7]
    assert "model.safetensors is damaged" in refused(lambda folder: (folder / "model.safetensors").write_bytes(cut))
    few = {"generator.x": torch.zeros(2)}
    other = refused(lambda folder: save_file(few, folder / "model.safetensors"))
    assert "bad holds another network than its own record describes" in other


def _without(record: dict[str, Any], part: str) -> Callable[[Path], object]:
    left = {key: value for key, value in record.items() if key != part}
    return lambda folder: (folder / "config.json").write_text(json.dumps(left), encoding="utf-8")


def test_tags_are_plain() -> None:
    assert [slug(text) for text in ("Pix2PixHD", "my set (v2)", "cc0 1.0", "—")] == [
        "pix2pixhd", "my-set-v2", "cc0-1.0", "unnamed",
    ]  # fmt: skip
