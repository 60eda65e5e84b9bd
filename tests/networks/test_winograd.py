"""3x3 convolutions by way of transformed tiles, against PyTorch's own."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchlight.networks import QuarterResNetGenerator, ReflectionPad2d, ResNetGenerator, init_weights, winograd
from patchlight.networks.residual import ResidualBlock
from patchlight.networks.winograd import WinogradConv2d

SIDES = (20, 28)


@pytest.fixture(autouse=True)
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images, where the transforms take longer than they save, are transformed all the same."""
    monkeypatch.setattr(winograd, "LEAST_TILES", 64)


def pair(
    dtype: torch.dtype, padding: int = 0, channels: tuple[int, int] = (64, 72)
) -> tuple[WinogradConv2d, nn.Conv2d]:
    torch.manual_seed(0)
    ours, stock = WinogradConv2d(*channels, padding=padding), nn.Conv2d(*channels, 3, padding=padding)
    stock.load_state_dict(ours.state_dict())
    return ours.to(dtype), stock.to(dtype)


def features(dtype: torch.dtype, padding: int = 0, channels: int = 64) -> Tensor:
    sides = [side + 2 - 2 * padding for side in SIDES]
    return torch.randn(2, channels, *sides, generator=torch.Generator().manual_seed(1)).relu().to(dtype)


def derived(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of input, weight and bias."""
    x = x.detach().requires_grad_()
    y = layer(x)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y)
    return [y.detach(), *torch.autograd.grad((y * direction).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("padding", [0, 1])
def test_values_and_gradients_are_the_stock_ones(padding: int, layout: torch.memory_format) -> None:
    ours, stock = pair(torch.float64, padding)
    x = features(torch.float64, padding).to(memory_format=layout)
    assert ours.transforms(x)
    for found, expected in zip(derived(ours, x), derived(stock, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    assert ours(x).is_contiguous(memory_format=torch.channels_last)


def test_tiles_of_a_large_image_are_transformed_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of 5 x 7 tiles, a row of each at a time, or two: the last band is smaller then."""
    ours, stock = pair(torch.float64, padding=1)
    x = features(torch.float64, padding=1)
    expected = derived(stock, x)
    for tiles in (1, 30):
        monkeypatch.setattr(winograd, "BAND_TILES", tiles)
        for found, wanted in zip(derived(ours, x), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


def test_float32_keeps_five_decimals() -> None:
    ours, _ = pair(torch.float32)
    _, exact = pair(torch.float64)
    for found, expected in zip(
        derived(ours, features(torch.float32)), derived(exact, features(torch.float64)), strict=True
    ):
        assert (found - expected).abs().max() < 2e-5 * expected.abs().max()


def test_there_are_second_derivatives() -> None:
    x = torch.randn(1, 2, 6, 10, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 2, 3, 3), (3,)))
    for given, prepare in ((x, None), (x[..., 1:-1, 1:-1], ReflectionPad2d(1))):
        convolve = partial(_apply, prepare)
        assert torch.autograd.gradcheck(convolve, (given, weight, bias))
        assert torch.autograd.gradgradcheck(convolve, (given, weight, bias))


def _apply(prepare: nn.Module | None, *tensors: Tensor) -> Tensor:
    output: Tensor = winograd._Winograd.apply(*tensors, prepare)
    return output


def test_tiles_are_for_training_wide_features_in_full_precision() -> None:
    ours, stock = pair(torch.float32)
    x = features(torch.float32)
    with torch.no_grad():
        assert not ours.transforms(x)
        assert torch.equal(ours(x), stock(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert not ours.transforms(x)
    assert not ours.transforms(x.bfloat16())
    assert not ours.transforms(x[..., :-1])
    assert not ours.transforms(x[..., :18])
    assert not ours.transforms(x[:1])
    assert not ours.transforms(x.to("meta"))
    assert not pair(torch.float32, channels=(64, 32))[0].transforms(x)
    assert torch.equal(ours(x[..., :-1]), stock(x[..., :-1]))


def test_a_backward_pass_that_is_kept_has_the_same_gradients() -> None:
    """Where it is to be differentiated again its results have memory of their own."""
    ours, _ = pair(torch.float64)
    x = features(torch.float64).requires_grad_()
    plain = torch.autograd.grad(ours(x).square().sum(), [x, ours.weight])
    kept = torch.autograd.grad(ours(x).square().sum(), [x, ours.weight], create_graph=True)
    torch.autograd.grad(ours(x).sum(), [x, ours.weight])  # writes over what is not kept
    for a, b in zip(plain, kept, strict=True):
        assert torch.equal(a, b.detach())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ResNetGenerator, {}), (ResNetGenerator, {"padding": "replicate"}), (ResNetGenerator, {"padding": "zero"}),
        (ResNetGenerator, {"norm": "batch"}), (ResNetGenerator, {"norm": "none"}),
        (ResNetGenerator, {"upsample": "pixelshuffle", "attention": True}), (QuarterResNetGenerator, {}),
        (ResNetGenerator, {"antialias": "both"}), (ResNetGenerator, {"antialias": "both", "norm": "none"}),
        (ResNetGenerator, {"antialias": "down", "norm": "batch", "upsample": "nearest"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_generator_learns_the_same_either_way(
    kind: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients, and the running statistics."""
    monkeypatch.setattr(winograd, "LEAST_TILES", 2)
    torch.manual_seed(0)
    ours = kind(3, 3, n_blocks=2, ngf=16, **settings)
    init_weights(ours, gain=0.1)
    ours, x = ours.double(), torch.randn(2, 3, 32, 16, dtype=torch.float64)
    stock = copy.deepcopy(ours)
    output = ours(x)
    assert output.is_contiguous()
    output.square().mean().backward()
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 65)
    expected = stock(x)
    expected.square().mean().backward()
    assert not torch.equal(output, expected)
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-12)
    for (name, found), wanted in zip(ours.named_parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-8, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    for (name, found), wanted in zip(ours.named_buffers(), stock.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_dropout_draws_its_noise_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "LEAST_TILES", 2)
    generator = ResNetGenerator(3, 3, n_blocks=2, ngf=16, dropout=True)
    calls: dict[type, int] = {}

    def count(module: nn.Module, *_: object) -> None:
        calls[type(module)] = calls.get(type(module), 0) + 1

    for module in generator.modules():
        if isinstance(module, nn.Dropout | ReflectionPad2d):
            module.register_forward_hook(count)
    generator(torch.randn(1, 3, 32, 32)).sum().backward()
    # Two paddings of each block are computed again, those at the generator's ends are kept.
    assert calls == {nn.Dropout: 2, ReflectionPad2d: 2 + 2 * 4}


def test_padded_features_are_not_kept() -> None:
    """A residual block keeps its input, and what its two convolutions make, before norm, activation and padding."""
    (block,) = (m for m in ResNetGenerator(3, 3, n_blocks=1, ngf=16).modules() if isinstance(m, ResidualBlock))
    x = features(torch.float32, padding=1).contiguous(memory_format=torch.channels_last).requires_grad_()
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    weights = {parameter.data_ptr() for parameter in block.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        output = block(x)
    sizes = [size for pointer, size in kept.items() if pointer not in weights and size >= x.nbytes]
    assert sizes == [x.nbytes] * 3
    assert output.shape == x.shape
