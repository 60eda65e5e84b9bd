"""Filtered changes of resolution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from patchlight.networks import ResNetGenerator
from patchlight.networks.layers import BlurDownsample, BlurUpsample, binomial


def test_binomial_filters() -> None:
    assert torch.equal(binomial(3) * 16, torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]))
    assert torch.equal(binomial(4)[0] * 64, torch.tensor([1.0, 3, 3, 1]))


def test_down_is_a_filter_then_every_second_pixel() -> None:
    image = torch.rand(2, 3, 8, 6)
    padded = F.pad(image, (1, 1, 1, 1), mode="reflect")
    blurred = F.conv2d(padded, binomial(3).repeat(3, 1, 1, 1), groups=3)
    assert torch.allclose(BlurDownsample()(image), blurred[:, :, ::2, ::2], atol=1e-6)
    assert BlurDownsample().state_dict() == {}


def test_up_is_a_filter_of_zeros_between_the_pixels() -> None:
    image = torch.rand(2, 3, 5, 4)
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    spread = torch.zeros(2, 3, 14, 12)
    spread[:, :, ::2, ::2] = padded
    blurred = F.conv2d(spread, 4 * binomial(4).repeat(3, 1, 1, 1), groups=3)
    assert torch.allclose(BlurUpsample()(image), blurred[:, :, :10, :8], atol=1e-6)


def test_a_shift_of_the_image_shifts_the_result_more_evenly() -> None:
    """By one pixel, which a strided convolution sees as another image."""
    torch.manual_seed(0)
    noise = torch.rand(1, 3, 12, 12)
    image = F.interpolate(noise, size=(96, 96), mode="bicubic") * 2 - 1
    errors = {}
    for antialias in ("none", "both"):
        torch.manual_seed(1)
        network = ResNetGenerator(3, 3, n_blocks=1, ngf=8, antialias=antialias).double().eval()  # type: ignore[arg-type]
        with torch.no_grad():
            still, moved = network(image.double()), network(image.double().roll(1, dims=-1))
        errors[antialias] = (still.roll(1, dims=-1) - moved)[..., 24:-24, 24:-24].abs().mean() / still.std()
    assert errors["both"] < 0.5 * errors["none"]


def test_a_wrong_choice() -> None:
    with pytest.raises(ValueError, match="antialias must be one of none, down, up, both, got True"):
        ResNetGenerator(3, 3, antialias=True)  # type: ignore[arg-type]


def test_features_computed_again_are_the_same() -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(3, 3, n_blocks=1, ngf=2, antialias="both")
    image = torch.rand(1, 3, 16, 16)
    network(image).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    network.recompute_features()
    network(image).square().mean().backward()
    found = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert len(found) == len(list(network.parameters()))
    assert all(torch.allclose(a, b) for a, b in zip(expected, found, strict=True))
