from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from patchlight.networks import PatchDiscriminator, UNetGenerator
from patchlight.networks.cost import count_parameters, forward_flops


def test_operations_by_hand() -> None:
    """4 x 4 convolutions, two operations for each weight and place: 3 to 4 to 8 to 1 channels."""
    network = PatchDiscriminator(3, ndf=4, n_layers=1)
    image = torch.zeros(1, 3, 32, 32)
    state = torch.get_rng_state()
    flops = forward_flops(network, lambda copy: copy(torch.empty(image.shape)))
    assert flops == 2 * 16 * (16 * 16 * 3 * 4 + 15 * 15 * 4 * 8 + 14 * 14 * 8)
    assert torch.equal(torch.get_rng_state(), state)
    assert not next(network.parameters()).is_meta
    assert network.training


def test_the_paper_s_generator() -> None:
    """54.4 million parameters, as in the reference code, and 12.1 billion operations at 256 px."""
    with torch.device("meta"):
        network = UNetGenerator(3, 3, num_downs=8, ngf=64, norm="batch", dropout=True)
    assert count_parameters(network) == 54_413_955
    flops = forward_flops(network, lambda copy: copy(torch.empty(1, 3, 256, 256)))
    layers = [(a, b, 128 >> i) for i, (a, b) in enumerate(pairwise([3, 64, 128, 256, *[512] * 5]))]
    down = sum(a * b * side**2 for a, b, side in layers)
    # Upwards each layer reads what comes from below beside what came along; the lowest one that alone.
    up = sum((1 if side == 1 else 2) * a * b * side**2 for a, b, side in layers)
    assert flops == 2 * 16 * (down + up)
    assert flops / 1e9 == pytest.approx(12.1, abs=0.05)


class ByValue(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * 2 if float(image.mean()) > 0 else image


def test_networks_that_look_at_values_have_no_figure() -> None:
    assert forward_flops(ByValue(), lambda copy: copy(torch.empty(1, 3, 8, 8))) is None
