"""A checkpoint alone is enough, and the result is what the training's own test would have given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import patchlight
from patchlight.data.images import read_image, to_array, to_float, to_planes, to_uint8
from patchlight.errors import ConfigError, DataError
from patchlight.inference import Translator
from patchlight.inference.files import write_pixels
from patchlight.inference.jobs import Job
from patchlight.inference.onnx import speed_up
from patchlight.inference.pipeline import translate_files
from patchlight.inference.pixels import from_array
from patchlight.methods import TranslationMethod

Make = Callable[..., tuple[Path, TranslationMethod]]
Draw = Callable[..., Image.Image]


def random_images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize("mode", ["eval", "paper"])
def test_pix2pix_is_the_methods_own_translation_to_the_bit(make: Make, mode: str) -> None:
    path, method = make("pix2pix", f"model.inference_mode={mode}")
    image = random_images(1, 3, 64, 96)
    translator = patchlight.load(path, device="cpu")
    expected = method.translate({"A": image, "B": image})["fake_B"]
    assert torch.equal(translator(image), expected)
    assert torch.equal(translator(image[0]), expected[0])
    assert translator.one_by_one is (mode == "paper")
    assert translator.direction == "AtoB"


def test_each_image_of_a_batch_is_translated_as_it_is_alone_in_paper_mode(make: Make) -> None:
    path, method = make("pix2pix")
    images = random_images(3, 3, 32, 32)
    alone = [method.translate({"A": image[None], "B": image[None]})["fake_B"] for image in images]
    together = method.translate({"A": images, "B": images})["fake_B"]
    assert torch.equal(patchlight.load(path, device="cpu")(images), torch.cat(alone))
    assert not torch.allclose(together, torch.cat(alone), atol=1e-3)  # what is avoided


@pytest.mark.parametrize("fast", [False, True])
def test_neighbours_in_a_batch_make_no_difference_in_eval_mode(make: Make, fast: bool) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    if fast:
        speed_up(translator)
    image, *others = random_images(3, 3, 40, 33)
    first, second = (translator(torch.stack([image, other]))[0] for other in others)
    assert torch.equal(first, second)
    assert torch.allclose(first, translator(image), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eval", "paper"])
def test_compiled_networks_agree(make: Make, mode: str) -> None:
    path, _ = make("pix2pix", f"model.inference_mode={mode}", "model.generator.dropout=false")
    exact, compiled = patchlight.load(path, device="cpu"), patchlight.load(path, device="cpu")
    speed_up(compiled, compile=True)
    for shape in ((1, 3, 64, 64), (2, 3, 32, 96)):
        image = random_images(*shape)
        assert torch.allclose(compiled(image), exact(image), atol=1e-4)


def test_the_mode_of_the_training_can_be_overridden(make: Make) -> None:
    path, method = make("pix2pix")
    image = random_images(1, 3, 32, 32)
    method.inference_mode = "eval"
    expected = method.translate({"A": image, "B": image})["fake_B"]
    assert torch.equal(patchlight.load(path, device="cpu", inference_mode="eval")(image), expected)
    assert not torch.equal(patchlight.load(path, device="cpu")(image), expected)


@pytest.mark.parametrize("trained", ["AtoB", "BtoA"])
def test_directions_are_between_the_files_domains(make: Make, trained: str) -> None:
    path, method = make("cyclegan", f"data.direction={trained}")
    image = random_images(1, 3, 32, 32)
    made = method.translate({"A": image, "B": image})
    # `A` of a batch is the domain that the training's direction begins with.
    reverse = "BtoA" if trained == "AtoB" else "AtoB"
    assert torch.equal(patchlight.load(path, device="cpu")(image), made["fake_B"])
    assert torch.equal(patchlight.load(path, direction=trained, device="cpu")(image), made["fake_B"])  # type: ignore[arg-type]
    assert torch.equal(patchlight.load(path, direction=reverse, device="cpu")(image), made["fake_A"])  # type: ignore[arg-type]
    assert not torch.equal(made["fake_A"], made["fake_B"])


def test_pix2pix_has_one_direction(make: Make) -> None:
    path, _ = make("pix2pix", "data.direction=BtoA")
    assert patchlight.load(path, direction="BtoA", device="cpu").direction == "BtoA"
    with pytest.raises(ConfigError, match=r"direction=AtoB is not what .*pix2pix.ckpt was trained for: .* BtoA only"):
        patchlight.load(path, direction="AtoB", device="cpu")


def test_channels_follow_the_direction(make: Make, picture: Draw) -> None:
    path, _ = make("pix2pix", "data.direction=BtoA", "data.channels_a=1")
    translator = patchlight.load(path, device="cpu")
    assert (translator.in_channels, translator.out_channels) == (3, 1)
    assert translator(picture(40, 30)).mode == "L"


def test_averaged_weights_unless_raw_ones_are_asked_for(make: Make) -> None:
    path, method = make("pix2pix", "model.inference_mode=eval", ema=True)
    image = random_images(1, 3, 32, 32)
    raw = method.translate({"A": image, "B": image})["fake_B"]
    assert torch.equal(patchlight.load(path, weights="raw", device="cpu")(image), raw)
    method.load_state_dict(torch.load(path, weights_only=True)["ema"], strict=False)
    averaged = method.translate({"A": image, "B": image})["fake_B"]
    assert torch.equal(patchlight.load(path, device="cpu")(image), averaged)
    assert not torch.equal(averaged, raw)


def test_images_arrays_and_tensors_agree(make: Make, picture: Draw) -> None:
    path, method = make("pix2pix")
    translator = patchlight.load(path, device="cpu")
    image = picture(64, 32)
    values = to_float(to_planes(np.asarray(image)))[None]
    expected = to_uint8(method.translate({"A": values, "B": values})["fake_B"][0])
    assert np.array_equal(np.asarray(translator(image)), expected)
    assert np.array_equal(translator(np.asarray(image)), expected)
    assert np.array_equal(to_uint8(translator(values)[0]), expected)


def test_any_size_comes_back_as_it_was(make: Make, picture: Draw) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    for size in ((1, 1), (3, 50), (17, 1), (45, 33), (200, 5)):
        assert translator(picture(*size)).size == size


def test_alpha_is_carried_and_laid_over_white_for_the_network(make: Make, picture: Draw, tmp_path: Path) -> None:
    translator = patchlight.load(make("pix2pix")[0], device="cpu")
    image = picture(32, 32)
    alpha = Image.linear_gradient("L").resize((32, 32))
    image.putalpha(alpha)
    image.save(tmp_path / "a.png")
    result = translator(image)
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result)[:, :, 3], np.asarray(alpha))
    seen = translator(to_array(read_image(tmp_path / "a.png")))
    assert np.array_equal(np.asarray(result)[:, :, :3], seen)


def test_sixteen_bits_come_back_as_sixteen(make: Make, picture: Draw) -> None:
    translator = patchlight.load(make("pix2pix")[0], device="cpu")
    shallow = np.asarray(picture(32, 32))
    result = translator(shallow.astype(np.uint16) * 257)
    assert result.dtype == np.uint16
    expected = translator(to_float(to_planes(shallow)))
    assert np.abs(result / 65535 - (expected.permute(1, 2, 0).numpy() + 1) / 2).max() < 1e-5
    assert len(np.unique(result)) > 256


def test_gray_images_and_arrays(make: Make, picture: Draw) -> None:
    translator = patchlight.load(make("pix2pix")[0], device="cpu")
    gray = picture(32, 32).convert("L")
    expected = np.asarray(translator(gray.convert("RGB")))
    assert np.array_equal(np.asarray(translator(gray)), expected)
    assert np.array_equal(translator(np.asarray(gray)), expected)


def test_bf16_is_close(make: Make) -> None:
    path, _ = make("cyclegan")
    image = random_images(1, 3, 32, 32)
    exact = patchlight.load(path, device="cpu")(image)
    rounded = patchlight.load(path, device="cpu", precision="bf16")(image)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.1


def test_results_go_where_the_tensor_was_in_its_own_type(make: Make) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    image = random_images(1, 3, 32, 32).double().requires_grad_()
    result = translator(image)
    assert result.dtype == torch.float64
    assert not result.requires_grad


def test_onnx_runtime_agrees(make: Make) -> None:
    pytest.importorskip("onnxruntime")
    path, _ = make("cyclegan")
    exact, onnx = patchlight.load(path, device="cpu"), patchlight.load(path, device="cpu")
    speed_up(onnx, "onnx")
    for shape in ((1, 3, 64, 64), (3, 3, 32, 96)):
        image = random_images(*shape)
        assert torch.allclose(onnx(image), exact(image), atol=1e-4)


def test_onnx_refuses_what_it_cannot_do(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = patchlight.load(make("pix2pix")[0], device="cpu")
    with pytest.raises(ConfigError, match="backend=onnx has no dropout"):
        speed_up(translator, "onnx")
    with pytest.raises(ConfigError, match="compile=true is PyTorch's"):
        speed_up(translator, "onnx", compile=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'patchlight\[onnx\]'"):
        speed_up(translator, "onnx")


def test_tensors_and_arrays_that_are_no_images(make: Make) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    with pytest.raises(DataError, match=r"a tensor of shape \(1, 32, 32\) .* with 3 channels"):
        translator(torch.zeros(1, 32, 32))
    with pytest.raises(DataError, match="it has 5 channels where 3 are wanted"):
        translator(np.zeros((32, 32, 5), np.uint8))
    with pytest.raises(DataError, match=r"an array of shape \(0, 32, 3\) and type uint8 is no image"):
        translator(np.zeros((0, 32, 3), np.uint8))
    with pytest.raises(DataError, match="type float64 is no image"):
        translator(np.zeros((32, 32)))


def test_a_wrong_argument_or_file(make: Make, tmp_path: Path) -> None:
    path, _ = make("cyclegan")
    with pytest.raises(ConfigError, match="weights=mean should be ema or raw"):
        patchlight.load(path, weights="mean")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"device=gpu7 cannot be used .*: give cpu, cuda"):
        patchlight.load(path, device="gpu7")
    with pytest.raises(DataError, match=r"none.ckpt is not there"):
        patchlight.load(tmp_path / "none.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["state_dict"]["generator_ab.layers.1.weight"]
    torch.save(checkpoint, path)
    with pytest.raises(DataError, match=r"cyclegan.ckpt holds another network than its own record describes"):
        patchlight.load(path, device="cpu")


def test_loading_leaves_the_random_state_alone(make: Make) -> None:
    path, _ = make("pix2pix")
    before = torch.get_rng_state()
    translator = patchlight.load(path, device="cpu")
    translator(random_images(1, 3, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(translator, Translator)


def test_load_is_there_though_the_package_does_not_import_it() -> None:
    """That importing the package imports no torch, `test_project.py` sees."""
    assert patchlight.load.__module__ == "patchlight.inference.loading"
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = patchlight.lode  # type: ignore[attr-defined]


RGBA = np.random.default_rng(0).integers(0, 256, (32, 48, 4), dtype=np.uint8)


@pytest.mark.parametrize(("read", "written"), [(4, 4), (4, 3), (3, 4), (4, 1)])
def test_alpha_of_four_channels_is_data(make: Make, read: int, written: int, tmp_path: Path) -> None:
    path, _ = make("pix2pix", f"data.channels_a={read}", f"data.channels_b={written}")
    translator = patchlight.load(path, device="cpu")
    paper = Image.alpha_composite(Image.new("RGBA", (48, 32), "white"), Image.fromarray(RGBA))
    seen = RGBA if read == 4 else np.array(paper.convert("RGB"))
    expected = translator.translate_array(seen)
    assert expected.shape == (32, 48, written), "and nothing of the input's alpha beside it"
    expected = expected[:, :, 0] if written == 1 else expected
    assert np.array_equal(translator(RGBA), expected)
    assert np.array_equal(translator(Image.fromarray(RGBA)), expected)
    Image.fromarray(RGBA).save(tmp_path / "x.png")
    Image.fromarray(RGBA[:, :, :3]).save(tmp_path / "rgb.png")
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("x.png", "rgb.png")]
    failures = translate_files(translator, jobs)
    with Image.open(tmp_path / "out" / "x.png") as file:
        assert np.array_equal(np.asarray(file), expected)
    assert [failure.reason for failure in failures] == ["it has 3 channels where 4 are wanted"] * (read == 4)


def test_five_channels_are_translated_as_arrays(make: Make, tmp_path: Path) -> None:
    path, _ = make("pix2pix", "data.channels_a=5", "data.channels_b=5")
    translator = patchlight.load(path, device="cpu")
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 5), dtype=np.uint8)
    result = translator(array)
    assert result.shape == (32, 32, 5)
    tensor = torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1
    assert np.abs(to_uint8(translator(tensor)).astype(int) - result).max() <= 1
    with pytest.raises(DataError, match="5 channels, which png cannot hold"):
        write_pixels(tmp_path / "x.png", from_array(result))
