"""CUT's networks, patches and contrastive loss, in float64, against the reference's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from golden import Golden, build, files, load
from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.losses import PatchNCELoss
from patchlight.networks import PatchSample, PatchSampleMLP, ResNetGenerator

pytestmark = pytest.mark.untraced


def close(computed: Tensor, expected: NDArray[Any], rtol: float = 1e-8, atol: float = 1e-10) -> None:
    np.testing.assert_allclose(computed.detach().numpy(), expected, rtol=rtol, atol=atol)


def gradient_norms(loss: Tensor, network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    gradients = torch.autograd.grad(loss, [*network.parameters(), *inputs], retain_graph=True, allow_unused=True)
    return torch.stack([torch.zeros((), dtype=torch.float64) if g is None else g.norm() for g in gradients])


def close_norms(loss: Tensor, network: nn.Module, inputs: Sequence[Tensor], expected: NDArray[Any]) -> None:
    close(gradient_norms(loss, network, inputs), expected, rtol=1e-6, atol=1e-9 * expected.max())


def test_layouts(shared: Path) -> None:
    (path,) = files("cut_specs", shared)
    for spec in load(path).meta["specs"]:
        ctor = spec["ctor"]
        network = (
            PatchSampleMLP([shape[1] for name, shape, _ in spec["keys"] if name.endswith(".0.weight")], nc=ctor["nc"])
            if ctor["cls"] == "PatchSampleF"
            else build(ctor)
        )
        written = reference_state_dict(network)
        assert [(key, list(value.shape)) for key, value in written.items()] == [(k, s) for k, s, _ in spec["keys"]]
        assert sum(parameter.numel() for parameter in network.parameters()) == spec["n_params"]


def test_discriminators(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("cut_d", shared):
        with subtests.test(path.stem):
            golden = load(path)
            network = golden.network().double()
            image = golden.noise(golden.meta["input_shape"], 0).double().requires_grad_(True)
            out = network(image)
            close(out, golden["out_f64"])
            for name, loss in (("mean", out.mean()), ("dot", (out * golden.noise(out.shape, 1)).mean())):
                close(loss, golden[f"loss_{name}_f64"])
                close_norms(loss, network, [image], golden[f"gradnorm_{name}_f64"])


def encoded(golden: Golden, network: ResNetGenerator) -> None:
    """Compare the features, and the image that is made."""
    meta = golden.meta
    image = golden.image(meta["input_shape"], 0).double().requires_grad_(True)
    features = network.encode(image, meta["layers"])
    assert [list(feature.shape) for feature in features] == meta["feature_shapes"]
    together, same = network(image, meta["layers"])
    for i, (feature, stride) in enumerate(zip(features, meta["feature_strides"], strict=True)):
        close(feature[..., ::stride, ::stride], golden[f"feat/{i}_f64"])
        close(torch.stack([feature.sum(), feature.square().sum()]), golden[f"feat/{i}_sum_f64"], atol=1e-8)
        assert torch.equal(feature, same[i])
    noise = [golden.noise(feature.shape, 10 + i) for i, feature in enumerate(features)]
    loss = torch.stack([(f * n).mean() for f, n in zip(features, noise, strict=True)]).sum()
    close(loss, golden["loss_dot_f64"])
    close_norms(loss, network, [image], golden["gradnorm_dot_f64"])
    out = network(image)
    assert torch.equal(out, together)
    close(out[..., ::2, ::2], golden["out_f64"])
    for made in (out, together):
        loss = (made * golden.noise(out.shape, 1)).mean()
        close(loss, golden["loss_out_f64"])
        close_norms(loss, network, [image], golden["gradnorm_out_f64"])


@pytest.mark.parametrize("recompute", [False, True])
def test_features_of_generators(recompute: bool, shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("cut_encode", shared):
        with subtests.test(path.stem):
            golden = load(path)
            network = golden.network().double()
            assert isinstance(network, ResNetGenerator)
            if recompute:
                network.recompute_features()
            encoded(golden, network)


def test_patches(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("cut_sample", shared):
        with subtests.test(path.stem):
            golden = load(path)
            shapes, ctor = golden.meta["feature_shapes"], golden.meta["ctor"]
            sampler = PatchSampleMLP([s[1] for s in shapes], nc=ctor["nc"]) if ctor["use_mlp"] else PatchSample()
            load_reference_weights(sampler, golden.weights(golden.meta["keys"]))
            sampler.double()
            features = [golden.noise(s, 500 + i).double().requires_grad_(True) for i, s in enumerate(shapes)]
            given = [torch.from_numpy(golden[f"patch_ids/{i}"]) for i in range(len(shapes))]
            vectors, ids = sampler(features, patch_ids=given)
            assert all(torch.equal(a, b) for a, b in zip(ids, given, strict=True))
            terms = []
            for i, vector in enumerate(vectors):
                close(vector, golden[f"out/{i}_f64"])
                noise = golden.noise((vector.shape[0] * vector.shape[1], vector.shape[2]), 600 + i)
                terms.append((vector.flatten(0, 1) * noise).mean())
            close(torch.stack(terms).sum(), golden["loss_dot_f64"])
            close_norms(torch.stack(terms).sum(), sampler, features, golden["gradnorm_dot_f64"])
            _, drawn = sampler(features, num_patches=golden.meta["options"]["num_patches"])
            assert [len(ids) for ids in drawn] == [len(ids) for ids in given]


def test_contrastive_loss(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("cut_nce", shared):
        with subtests.test(path.stem):
            golden = load(path)
            options = golden.meta["options"]
            negatives = "minibatch" if options["nce_includes_all_negatives_from_minibatch"] else "image"
            query, key = (torch.from_numpy(golden[name]).requires_grad_(True) for name in ("query", "key"))
            loss = PatchNCELoss(options["nce_T"], negatives)(query, key)
            close(loss, golden["loss_f64"])
            loss.backward()
            assert query.grad is not None
            close(query.grad, golden["grad_query_f64"], atol=1e-12)
            assert key.grad is None
