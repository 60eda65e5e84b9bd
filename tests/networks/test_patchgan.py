from __future__ import annotations

import pytest
import torch
from torch import nn

from patchlight.networks import Discriminator, PatchDiscriminator, PixelDiscriminator


def test_the_layers_of_the_70_pixel_discriminator() -> None:
    expected = []
    for i, (inside, outside, stride) in enumerate([(3, 64, 2), (64, 128, 2), (128, 256, 2), (256, 512, 1)]):
        strides, padding = f"stride=({stride}, {stride})", "padding=(1, 1)"
        expected.append(f"Conv2d({inside}, {outside}, kernel_size=(4, 4), {strides}, {padding})")
        if i:
            norm = f"InstanceNorm2d({outside}, eps=1e-05, momentum=0.1, bias=False, affine=False, "
            expected.append(norm + "track_running_stats=False)")
        expected.append("LeakyReLU(negative_slope=0.2, inplace=True)")
    expected.append("Conv2d(512, 1, kernel_size=(4, 4), stride=(1, 1), padding=(1, 1))")
    layers = list(map(str, PatchDiscriminator(3, norm="instance").layers))
    assert [layer.replace("bias=False, ", "") for layer in layers] == [e.replace("bias=False, ", "") for e in expected]


@pytest.mark.parametrize("norm", ["batch", "instance", "none", "sync_batch"])
def test_bias_only_before_instance_norm(norm: str) -> None:
    convolutions = [m for m in PatchDiscriminator(3, ndf=2, norm=norm).modules() if isinstance(m, nn.Conv2d)]  # type: ignore[arg-type]
    assert [m.bias is not None for m in convolutions] == [True, *[norm == "instance"] * 3, True]


def test_filters_stop_at_eight_times_ndf() -> None:
    network = PatchDiscriminator(3, ndf=4, n_layers=6, norm="none")
    widths = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [4, 8, 16, 32, 32, 32, 32, 1]


def test_any_aspect() -> None:
    network = PatchDiscriminator(3, ndf=4, norm="none")
    assert network(torch.zeros(1, 3, 96, 70)).shape[2:] == network.patch_grids(96, 70)[0].size == (10, 6)


def test_smallest_image() -> None:
    network = PatchDiscriminator(3, ndf=4, norm="none")
    assert network.min_size == 24
    assert network(torch.zeros(1, 3, 24, 24)).shape == (1, 1, 1, 1)
    message = "n_layers=3 leaves an empty patch map for a 23x300 image: .* 24 pixels"
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(1, 3, 23, 300))
    with pytest.raises(ValueError, match=f"takes no image of 23 x 300 px .{message}"):
        network.patch_grids(23, 300)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_features_are_what_each_block_makes_and_the_map(norm: str) -> None:
    network = PatchDiscriminator(3, ndf=2, n_layers=3, norm=norm)  # type: ignore[arg-type]
    image = torch.rand(2, 3, 32, 48)
    (features,) = network.features(image)
    assert [tuple(x.shape[1:]) for x in features] == [(2, 16, 24), (4, 8, 12), (8, 4, 6), (16, 3, 5), (1, 2, 4)]
    assert torch.equal(features[-1], network(image))
    begin = network.layers[:2]
    assert torch.equal(features[0], begin(image))
    (pixels,) = PixelDiscriminator(3, ndf=2, norm=norm).features(image)  # type: ignore[arg-type]
    assert [x.shape[1] for x in pixels] == [2, 4, 1]


def test_a_discriminator_without_features_says_so() -> None:
    with pytest.raises(ValueError, match=r"^Discriminator does not show its features: it has no features\(image\)"):
        Discriminator().features(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(("key", "value"), [("n_layers", 0), ("n_layers", 2.5), ("ndf", -1), ("in_channels", True)])
def test_refuses_bad_numbers(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{key} must be an integer of at least 1, got {value!r}"):
        PatchDiscriminator(**{"in_channels": 3, key: value})  # type: ignore[arg-type]


def test_refuses_unknown_norm() -> None:
    with pytest.raises(ValueError, match="norm must be one of batch, instance, none, sync_batch, got 'layer'"):
        PatchDiscriminator(3, norm="layer")  # type: ignore[arg-type]
