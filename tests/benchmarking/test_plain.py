"""The plain ways are fair: the same networks, by their parameters and operations."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import nn

from patchlight.benchmarking.cases import flops_of, matmul_peak, plain_dir, plain_module
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator

CPU = torch.device("cpu")


def weights(network: nn.Module) -> list[torch.Size]:
    return sorted(p.shape for p in network.parameters() if p.ndim == 4)


def test_they_are_the_same_networks() -> None:
    plain = plain_module("plain_networks")
    x = torch.randn(1, 3, 64, 64)
    for theirs, ours in (
        (plain.UNet(5, 8), UNetGenerator(3, 3, 5, 8, dropout=True)),
        (plain.ResNet(3, 8), ResNetGenerator(3, 3, 3, 8)),
        (plain.PatchGAN(3, nn.BatchNorm2d, 8), PatchDiscriminator(3, 8)),
        (plain.PatchGAN(3, nn.InstanceNorm2d, 8, 4), PatchDiscriminator(3, 8, 4, norm="instance")),
    ):
        assert weights(theirs) == weights(ours)
        assert theirs(x).shape == ours(x).shape


def test_the_residual_generator_computes_the_same() -> None:
    theirs, ours = plain_module("plain_networks").ResNet(2, 4).double(), ResNetGenerator(3, 3, 2, 4).double()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(theirs(x), ours(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["pix2pix_step", "cyclegan_step"])
def test_a_plain_step_trains(name: str) -> None:
    torch.manual_seed(0)
    step = getattr(plain_module("plain_step"), name)(64, 1, 3, 2, 4, CPU)
    optimizers = [c.cell_contents for c in step.__closure__ if isinstance(c.cell_contents, torch.optim.Adam)]
    before = [p.detach().clone() for o in optimizers for g in o.param_groups for p in g["params"] if p.ndim == 4]
    assert flops_of(step) > 1e6
    after = [p for o in optimizers for g in o.param_groups for p in g["params"] if p.ndim == 4]
    assert len(optimizers) == 2
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_they_know_nothing_of_this_project() -> None:
    for file in sorted(plain_dir().glob("plain_*.py")):
        assert "patchlight" not in file.read_text(encoding="utf-8").replace("`patchlight", ""), file


def test_operations_of_a_convolution() -> None:
    layer = nn.Conv2d(3, 8, 5, padding=2, bias=False)
    x = torch.randn(1, 3, 10, 12)
    assert flops_of(lambda: layer(x)) == 2 * 3 * 8 * 25 * 120


def test_the_peak_is_a_rate() -> None:
    rate = matmul_peak(CPU, torch.float32, side=128, times=3)
    assert 1e7 < rate < 1e14
    assert math.isfinite(rate)
    assert importlib.util.find_spec("patchlight.benchmarking.child") is not None
