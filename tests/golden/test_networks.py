"""Networks against the reference's outputs, losses and gradients."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from golden import Golden, build, files, load
from patchlight.interop import load_reference_weights, reference_state_dict

# The figures are not part of the repository, so that its coverage does not rest on them.
pytestmark = pytest.mark.untraced

FAMILIES = ["nlayer_d", "pixel_d", "unet", "resnet"]


@pytest.mark.parametrize("family", FAMILIES)
def test_layout(family: str, shared: Path, subtests: pytest.Subtests) -> None:
    for path in files(family, shared):
        with subtests.test(path.stem):
            golden = load(path)
            network = golden.network()
            written = reference_state_dict(network)
            described = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in written.items()]
            assert described == golden.meta["keys"]
            assert sum(p.numel() for p in network.parameters()) == golden.meta["n_params"]
            expected = golden.weights(golden.meta["keys"])
            assert all(torch.equal(written[key], expected[key]) for key in expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs_in_float32(family: str, mode: str, shared: Path, subtests: pytest.Subtests) -> None:
    for path in files(family, shared):
        golden = load(path)
        if f"out_{mode}" not in golden:
            continue
        with subtests.test(path.stem), torch.no_grad():
            network = golden.network().train(mode == "train")
            output = network(golden.noise(golden.meta["input_shape"], 0))
            assert list(output.shape) == golden.meta["out_shape"]
            stride = golden.meta["train_out_stride"] if mode == "train" else 1
            tolerance = 10 * golden.meta[f"out_{mode}_maxabs_f32_vs_f64"] + 1e-6
            np.testing.assert_allclose(
                output[..., ::stride, ::stride].numpy(), golden[f"out_{mode}"], rtol=0, atol=tolerance
            )
            if mode == "train":
                compare_buffers(golden, network)


def compare_buffers(golden: Golden, network: nn.Module) -> None:
    """Running statistics after one forward pass in training mode."""
    state = reference_state_dict(network)
    for key in golden.arrays:
        if key.startswith("buffer_after_train/"):
            name = key.removeprefix("buffer_after_train/")
            np.testing.assert_allclose(state[name].numpy(), golden[key], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_losses_and_gradients_in_float64(family: str, mode: str, shared: Path, subtests: pytest.Subtests) -> None:
    for path in files(family, shared):
        golden = load(path)
        if f"gradnorm_mean_{mode}_f64" not in golden:
            continue
        for loss_name in ("mean", "dot"):
            with subtests.test(f"{path.stem}-{loss_name}"):
                network = golden.network().double().train(mode == "train")
                image = golden.noise(golden.meta["input_shape"], 0).double().requires_grad_(True)
                output = network(image)
                np.testing.assert_allclose(
                    [output.sum().item(), output.square().sum().item()], golden[f"out_{mode}_sum_f64"], rtol=1e-8
                )
                weight = 1.0 if loss_name == "mean" else golden.noise(tuple(output.shape), 1).double()
                loss = (output * weight).mean()
                np.testing.assert_allclose(loss.item(), golden[f"loss_{loss_name}_{mode}_f64"], rtol=1e-8)
                loss.backward()
                norms = [p.grad.norm().item() for p in network.parameters() if p.grad is not None]
                assert image.grad is not None
                expected = golden[f"gradnorm_{loss_name}_{mode}_f64"]
                np.testing.assert_allclose(
                    [*norms, image.grad.norm().item()], expected, rtol=1e-8, atol=1e-10 * expected.max()
                )


def test_full_size_layouts(shared: Path, subtests: pytest.Subtests) -> None:
    """At 64 filters the networks have the reference's parameter counts and checkpoint keys."""
    (path,) = files("full_specs", shared)
    for name, spec in load(path).meta["specs"].items():
        with subtests.test(name), torch.device("meta"):
            network = build(constructor(spec["ctor"]))
            assert sum(p.numel() for p in network.parameters()) == spec["n_params"]
            written = reference_state_dict(network)
            assert [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in written.items()] == spec["keys"]


def constructor(spec: dict[str, object]) -> dict[str, object]:
    """The class and arguments behind one of the reference's names, such as resnet_9blocks."""
    name = str(spec.get("netG") or spec.get("netD"))
    number = re.search(r"\d+", name)
    if name.startswith("unet"):
        assert number is not None
        return {**spec, "cls": "UnetGenerator", "num_downs": int(np.log2(int(number[0])))}
    if name.startswith("resnet"):
        assert number is not None
        return {**spec, "cls": "ResnetGenerator", "n_blocks": int(number[0]), "padding_type": "reflect"}
    if name == "pixel":
        return {**spec, "cls": "PixelDiscriminator"}
    return {**spec, "cls": "NLayerDiscriminator", "n_layers": spec["n_layers_D"]}


def test_dropout_shifts_no_weights(shared: Path) -> None:
    """Weights of a generator with dropout load into one without, whose layer numbers differ, and back."""
    path = next(p for p in files("resnet", shared) if "dropout" in p.stem)
    golden = load(path)
    plain = build({**golden.meta["ctor"], "use_dropout": False})
    load_reference_weights(plain, golden.weights(golden.meta["keys"]))
    image = golden.noise(golden.meta["input_shape"], 0)
    with torch.no_grad():
        assert torch.equal(plain.eval()(image), golden.network().eval()(image))
