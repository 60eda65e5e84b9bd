"""pix2pixHD's generators and multi-scale discriminator against the reference's outputs, features and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from golden import Golden, build, files, load
from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.networks import MultiscaleDiscriminator

# The figures are not part of the repository, so that its coverage does not rest on them.
pytestmark = pytest.mark.untraced


def written_layout(network: nn.Module) -> list[list[Any]]:
    written = reference_state_dict(network)
    return [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in written.items()]


def sums(values: Tensor) -> list[float]:
    return [values.sum().item(), values.square().sum().item()]


def compare_gradients(golden: Golden, name: str, network: nn.Module, image: Tensor) -> None:
    norms = [0.0 if p.grad is None else p.grad.norm().item() for p in (*network.parameters(), image)]
    expected = golden[f"gradnorm_{name}_f64"]
    np.testing.assert_allclose(norms, expected, rtol=1e-6, atol=1e-9 * expected.max())


def compare_buffers(golden: Golden, network: nn.Module) -> None:
    """Running statistics after one forward pass; the two layouts of a discriminator have other names, in one order."""
    own = [
        v for k, v in reference_state_dict(network).items() if k.rpartition(".")[2] in ("running_mean", "running_var")
    ]
    expected = [golden[key] for key in golden.arrays if key.startswith("buffer_after_train/")]
    for value, figure in zip(own, expected, strict=True):
        np.testing.assert_allclose(value.numpy(), figure, rtol=1e-4, atol=1e-6)


def test_generators(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("hd_generators", shared):
        with subtests.test(path.stem):
            golden = load(path)
            network = golden.network()
            assert written_layout(network) == golden.meta["keys"]
            assert sum(p.numel() for p in network.parameters()) == golden.meta["n_params"]
            network.double()
            image = golden.image(golden.meta["input_shape"], 0).double().requires_grad_()
            output = network(image)
            np.testing.assert_allclose(output[..., ::2, ::2].detach(), golden["out_f64"], rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(sums(output), golden["out_sum_f64"], rtol=1e-8, atol=1e-10)
            loss = (output * golden.noise(tuple(output.shape), 1).double()).mean()
            np.testing.assert_allclose(loss.item(), golden["loss_dot_f64"], rtol=1e-8, atol=1e-10)
            loss.backward()
            compare_gradients(golden, "dot", network, image)
            compare_buffers(golden, network)


def test_multiscale_discriminators(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("hd_multiscale", shared):
        with subtests.test(path.stem):
            golden = load(path)
            groups = golden.meta["ctor"]["n_layers"] + 2
            for kind in ("maps", "feats") if golden.meta["ctor"]["getIntermFeat"] else ("maps",):
                network = golden.network().double()
                image = golden.noise(golden.meta["input_shape"], 0).double().requires_grad_()
                found = features_or_maps(network, image, kind)
                compare_features(golden, found)
                loss = sum(
                    (made * golden.noise(tuple(made.shape), 100 * i + groups - len(scale) + j + 1).double()).mean()
                    for i, scale in enumerate(found)
                    for j, made in enumerate(scale)
                )
                assert isinstance(loss, Tensor)
                np.testing.assert_allclose(loss.item(), golden[f"loss_{kind}_f64"], rtol=1e-8, atol=1e-10)
                loss.backward()
                compare_gradients(golden, kind, network, image)
                compare_buffers(golden, network)


def features_or_maps(network: nn.Module, image: Tensor, kind: str) -> Sequence[Sequence[Tensor]]:
    assert isinstance(network, MultiscaleDiscriminator)
    return network.features(image) if kind == "feats" else [[logits] for logits in network(image)]


def compare_features(golden: Golden, found: Sequence[Sequence[Tensor]]) -> None:
    for i, scale in enumerate(found):
        np.testing.assert_allclose(scale[-1].detach(), golden[f"map/{i}_f64"], rtol=1e-8, atol=1e-10)
        for j, feature in enumerate(scale[:-1]):
            step = golden.meta["feature_strides"][i][j]
            assert list(feature.shape) == golden.meta["feature_shapes"][i][j]
            np.testing.assert_allclose(
                feature[..., ::step, ::step].detach(), golden[f"feat/{i}/{j}_f64"], rtol=1e-8, atol=1e-10
            )
            np.testing.assert_allclose(sums(feature), golden[f"feat/{i}/{j}_sum_f64"], rtol=1e-8, atol=1e-10)


def test_discriminators_have_one_written_layout(shared: Path, subtests: pytest.Subtests) -> None:
    """Files of both layouts load; what is written is the one with features, in the same order of tensors."""
    for path in files("hd_multiscale", shared):
        with subtests.test(path.stem):
            golden = load(path)
            network, keys = golden.network(), golden.meta["keys"]
            assert sum(p.numel() for p in network.parameters()) == golden.meta["n_params"]
            assert [described[1:] for described in written_layout(network)] == [described[1:] for described in keys]
            names = [described[0] for described in written_layout(network)]
            assert all(name.startswith("scale") for name in names)
            if golden.meta["ctor"]["getIntermFeat"]:
                assert names == [described[0] for described in keys]
            expected = golden.weights(keys).values()
            for value, tensor in zip(reference_state_dict(network).values(), expected, strict=True):
                assert torch.equal(value, tensor)


def test_full_size_layouts(shared: Path, subtests: pytest.Subtests) -> None:
    (path,) = files("hd_specs", shared)
    for spec in load(path).meta["specs"]:
        with subtests.test(spec["ctor"]["cls"]), torch.device("meta"):
            network = build(spec["ctor"])
            assert sum(p.numel() for p in network.parameters()) == spec["n_params"]
            load_reference_weights(network, {k: torch.empty(shape) for k, shape, _ in spec["keys"]})
            if spec["ctor"].get("getIntermFeat", True):
                assert written_layout(network) == spec["keys"]
