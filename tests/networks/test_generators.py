from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from patchlight.networks import ResNetGenerator, UNetGenerator, init_weights


@pytest.mark.parametrize("num_downs", [1, 2, 4, 5, 7])
def test_unet_of_any_depth(num_downs: int) -> None:
    network = UNetGenerator(1, 2, num_downs=num_downs, ngf=2)
    size = 2**num_downs
    assert network.size_multiple == size
    image = torch.randn(2, 1, 2 * size, size)
    output = network(image)
    assert output.shape == (2, 2, 2 * size, size)
    assert output.abs().max() <= 1
    downs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in downs] == [2 * min(2**i, 8) for i in range(num_downs)]


def test_unet_names_the_size_it_needs() -> None:
    with pytest.raises(ValueError, match="num_downs=4 needs image sides that are multiples of 16, got 32x40"):
        UNetGenerator(3, 3, num_downs=4, ngf=2)(torch.zeros(1, 3, 32, 40))


def test_unet_has_dropout_in_the_middle_only() -> None:
    network = UNetGenerator(3, 3, num_downs=8, ngf=2, dropout=True)
    has_dropout = [any(isinstance(m, nn.Dropout) for m in level.modules()) for level in network.decoder]
    assert has_dropout == [False] + 3 * [True] + 4 * [False]  # fmt: skip
    assert not any(isinstance(m, nn.Dropout) for m in UNetGenerator(3, 3, ngf=2).modules())


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none", "sync_batch"])
def test_resnet_of_every_kind(padding: Any, norm: Any) -> None:
    network = ResNetGenerator(3, 1, n_blocks=2, ngf=2, norm=norm, dropout=True, padding=padding)
    output = network(torch.randn(2, 3, 16, 20))
    assert output.shape == (2, 1, 16, 20)
    assert output.abs().max() <= 1
    assert sum(isinstance(m, nn.Dropout) for m in network.modules()) == 2


def test_resnet_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="padding must be one of reflect, replicate, zero, got 'circular'"):
        ResNetGenerator(3, 3, padding="circular")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_blocks must be an integer of at least 0, got -1"):
        ResNetGenerator(3, 3, n_blocks=-1)
    with pytest.raises(ValueError, match="multiples of 4, got 18x16"):
        ResNetGenerator(3, 3, n_blocks=0, ngf=2)(torch.zeros(1, 3, 18, 16))


def test_initial_weights_by_type() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(64, 128, 4), nn.BatchNorm2d(128), nn.ConvTranspose2d(128, 64, 4), nn.Linear(64, 64)
    )
    convolution, norm, transposed, _ = network
    for init_type, std in (
        ("normal", 0.02),
        ("xavier", 0.02 * (2 / (192 * 16)) ** 0.5),
        ("kaiming", (2 / 1024) ** 0.5),
    ):
        init_weights(network, init_type, 0.02)  # type: ignore[arg-type]
        assert convolution.weight.std().item() == pytest.approx(std, rel=0.02)  # type: ignore[union-attr]
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)  # type: ignore[union-attr]
        assert (transposed.bias == 0).all()
        assert (norm.bias == 0).all()
    init_weights(network, "orthogonal", 2.0)
    rows = convolution.weight.flatten(1) / 2  # type: ignore[operator]
    assert torch.allclose(rows @ rows.T, torch.eye(128), atol=1e-5)
    with pytest.raises(ValueError, match="init_type must be one of normal, xavier, kaiming, orthogonal, got 'zeros'"):
        init_weights(network, "zeros")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gain must be positive, got 0"):
        init_weights(network, "normal", 0)
