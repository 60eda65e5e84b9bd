"""pix2pixHD's networks: geometry of each scale, sizes, and beginning with the weights of a smaller network."""

from __future__ import annotations

import pytest
import torch

from patchlight.networks import (
    GlobalGenerator,
    LocalEnhancer,
    MultiscaleDiscriminator,
    PatchGrid,
    patch_grids,
    receptive_field,
)


def test_patches_of_each_scale() -> None:
    """70 pixels at the full size; of every second pixel, each the mean of 3 x 3, 2 * 69 + 3 pixels of the image."""
    network = MultiscaleDiscriminator(3, ndf=4, n_layers=3, num_scales=2)
    fine, coarse = network.patch_grids(64, 96)
    # Padding by 2 in each of five layers: 0.5 + (1.5 - 2) (1 + 2 + 4 + 8 + 8).
    assert fine == PatchGrid(70, 8, 0.5 - 0.5 * 23, (11, 15))
    # The pooling's first value lies on the first pixel; every step after it is doubled.
    assert coarse == PatchGrid(2 * 69 + 3, 16, 0.5 - 0.5 * 2 * 23, (7, 9))
    assert receptive_field(network) == 141
    assert [tuple(each.shape) for each in network(torch.zeros(2, 3, 64, 96))] == [(2, 1, 11, 15), (2, 1, 7, 9)]
    assert [scale[-1].shape for scale in network.features(torch.zeros(1, 3, 64, 96))] == [(1, 1, 11, 15), (1, 1, 7, 9)]


def test_a_scale_sees_its_own_patches_alone() -> None:
    """Values of a coarse map change with the pixels of their patch, and with no other."""
    network = MultiscaleDiscriminator(1, ndf=2, n_layers=1, num_scales=2, norm="none").double()
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    for logits, grid in zip(network(image), patch_grids(network, 64, 64), strict=True):
        middle = grid.size[0] // 2
        (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        left, top, right, bottom = grid.patch(middle, middle)
        assert (seen[:, 0].min(), seen[:, 0].max() + 1) == (top, bottom)
        assert (seen[:, 1].min(), seen[:, 1].max() + 1) == (left, right)


def test_smallest_image() -> None:
    network = MultiscaleDiscriminator(1, ndf=2, n_layers=3, num_scales=3)
    assert network.min_size == 5
    assert all(logits.isfinite().all() for logits in network(torch.rand(1, 1, 5, 5)))
    with pytest.raises(ValueError, match="num_scales=3 leaves a single pixel of a 4x5 image: it needs at least 5"):
        network(torch.rand(1, 1, 4, 5))


def test_filters_stop_at_512() -> None:
    with torch.device("meta"):
        network = MultiscaleDiscriminator(3, ndf=200, n_layers=3)
    assert [p.shape[0] for p in network.scales[0].parameters() if p.ndim == 4] == [200, 400, 512, 512, 1]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (GlobalGenerator(1, 1, ngf=2, n_downsampling=2, n_blocks=1), "multiples of 4, and at least 8, got 4x8"),
        (LocalEnhancer(1, 1, ngf=2, n_downsampling=1, n_blocks=1), "multiples of 4, and at least 8, got 4x8"),
    ],
)
def test_sizes_of_generators(network: torch.nn.Module, message: str) -> None:
    assert network(torch.zeros(1, 1, 8, 12)).shape == (1, 1, 8, 12)
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(1, 1, 4, 8))


def test_features_that_are_computed_again_give_the_same_gradients() -> None:
    for network in (
        GlobalGenerator(2, 1, ngf=2, n_downsampling=2, n_blocks=2).double(),
        LocalEnhancer(2, 1, ngf=2, n_downsampling=1, n_blocks=1, n_local_enhancers=2, n_blocks_local=1).double(),
    ):
        image = torch.rand(1, 2, 16, 16, dtype=torch.float64)
        expected = torch.autograd.grad(network(image).square().sum(), list(network.parameters()))
        network.recompute_features()
        found = torch.autograd.grad(network(image).square().sum(), list(network.parameters()))
        for own, other in zip(found, expected, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_a_local_enhancer_begins_with_a_global_generator() -> None:
    coarse = GlobalGenerator(3, 3, ngf=4, n_downsampling=2, n_blocks=1)
    joint = LocalEnhancer(3, 3, ngf=2, n_downsampling=2, n_blocks=1, n_blocks_local=1)
    before = {key: value.clone() for key, value in joint.state_dict().items()}
    joint.load_state_dict(joint.initial_state(coarse.state_dict()))
    for key, value in joint.state_dict().items():
        expected = coarse.state_dict()[key.replace("coarse.", "trunk.")] if key.startswith("coarse.") else before[key]
        assert torch.equal(value, expected), key
    assert joint.initial_state(before).keys() == before.keys()
    other = GlobalGenerator(3, 3, ngf=6, n_downsampling=2, n_blocks=1)
    with pytest.raises(RuntimeError, match="size mismatch for coarse"):
        joint.load_state_dict(joint.initial_state(other.state_dict()))


def test_further_scales_begin_anew() -> None:
    """The coarsest scales of a discriminator at twice the resolution see what all of them saw before."""
    small, large = MultiscaleDiscriminator(3, ndf=2, num_scales=2), MultiscaleDiscriminator(3, ndf=2, num_scales=3)
    image = torch.rand(1, 3, 64, 64)
    finest = large(image)[0]
    large.load_state_dict(large.initial_state(small.state_dict()))
    maps = large(image)
    assert torch.equal(maps[0], finest)
    half = torch.nn.functional.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
    for own, expected in zip(maps[1:], small(half), strict=True):
        assert torch.equal(own, expected)
    assert small.initial_state(large.state_dict()).keys() == large.state_dict().keys()  # which then does not load
