"""Instance norm, padding and recomputation: the same values as the stock layers, in any memory layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchlight.networks import (
    InstanceNorm2d,
    PatchDiscriminator,
    QuarterResNetGenerator,
    ReflectionPad2d,
    ResNetGenerator,
    UNetGenerator,
    init_weights,
    recomputed,
    with_gradient,
)  # fmt: skip
from patchlight.networks.generator_layers import SelfAttention

LAST = torch.channels_last


def gradient(layer: nn.Module, x: Tensor, seed: int = 1) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = layer(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).to(y.dtype)
    (found,) = torch.autograd.grad((y * weight).sum(), x)
    return y.detach(), found


def maps(batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(batch, 5, 12, 9, generator=torch.Generator().manual_seed(0)) * 3 + 2).to(dtype)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_instance_norm_is_the_stock_one_to_the_bit(batch: int, dtype: torch.dtype) -> None:
    ours, stock = (gradient(layer, maps(batch, dtype)) for layer in (InstanceNorm2d(5), nn.InstanceNorm2d(5)))
    assert torch.equal(ours[0], stock[0])
    torch.testing.assert_close(ours[1], stock[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_instance_norm_stays_in_channels_last(batch: int) -> None:
    x = maps(batch)
    value, grad = gradient(InstanceNorm2d(5), x.to(memory_format=LAST))
    stock, stock_grad = gradient(nn.InstanceNorm2d(5), x)
    assert value.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(value, stock, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, stock_grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_in_16_bits_has_statistics_of_32(batch: int, layout: torch.memory_format) -> None:
    x = maps(batch, torch.bfloat16)
    value, _ = gradient(InstanceNorm2d(5), x.to(memory_format=layout))
    exact = nn.InstanceNorm2d(5)(x.float())
    assert value.dtype == torch.bfloat16
    # Half a unit in the last of 8 bits.
    torch.testing.assert_close(value.float(), exact, rtol=2**-8, atol=2**-10)


def test_an_image_of_one_pixel_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        InstanceNorm2d(5)(torch.ones(2, 5, 1, 1))


@pytest.mark.parametrize("width", [0, 1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
def test_reflection_is_the_stock_one(width: int, layout: torch.memory_format) -> None:
    x = maps(2, torch.float64).to(memory_format=layout)
    ours, stock = (gradient(layer, x) for layer in (ReflectionPad2d(width), nn.ReflectionPad2d(width)))
    assert torch.equal(ours[0], stock[0])
    torch.testing.assert_close(ours[1], stock[1], rtol=1e-14, atol=1e-14)
    assert ours[0].is_contiguous(memory_format=layout)


def test_reflection_has_second_derivatives() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ReflectionPad2d(2), x)
    assert torch.autograd.gradgradcheck(lambda x: ReflectionPad2d(3)(x) ** 2, x)


def test_reflection_needs_pixels_to_mirror() -> None:
    with pytest.raises(RuntimeError, match="Padding size should be less"):
        ReflectionPad2d(3)(torch.ones(1, 1, 3, 8))


NETWORKS: dict[str, Any] = {
    "unet": lambda: UNetGenerator(3, 3, 5, ngf=4, dropout=True),
    "unet, instance": lambda: UNetGenerator(3, 3, 4, ngf=4, norm="instance"),
    "resnet": lambda: ResNetGenerator(3, 3, n_blocks=2, ngf=4, norm="batch", dropout=True),
    "resnet, instance": lambda: ResNetGenerator(3, 3, n_blocks=2, ngf=4),
    "unet, nearest, attention": lambda: UNetGenerator(3, 3, 3, ngf=4, upsample="nearest", attention=True),
    "unet, pixelshuffle": lambda: UNetGenerator(3, 3, 4, ngf=4, norm="instance", upsample="pixelshuffle"),
    "resnet, bilinear, attention": lambda: ResNetGenerator(3, 3, 3, ngf=4, upsample="bilinear", attention=True),
    "resnet, pixelshuffle": lambda: ResNetGenerator(3, 3, n_blocks=1, ngf=4, upsample="pixelshuffle"),
    "mobile": lambda: ResNetGenerator(
        3, 3, 2, ngf=4, norm="batch", dropout=True, upsample="nearest", block="separable"
    ),
    "quarter": lambda: QuarterResNetGenerator(3, 3, n_blocks=2, ngf=4, attention=True),
    "discriminator": lambda: PatchDiscriminator(3, ndf=4, norm="instance"),
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = NETWORKS[name]()
    init_weights(made)
    for layer in made.modules():
        if isinstance(layer, SelfAttention):
            nn.init.constant_(layer.gate, 0.5)  # of 0, at which attention does nothing
    return made.double()


def run(made: nn.Module) -> dict[str, Tensor]:
    """The output of two passes, the gradients and the buffers after them."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    output = made(made(x[:1])) if made(x).shape == x.shape else made(x)
    output.square().mean().backward()
    gradients = {f"gradient of {n}": p.grad for n, p in made.named_parameters() if p.grad is not None}
    return {"output": output.detach(), **gradients, **dict(made.named_buffers())}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_same_in_channels_last(name: str) -> None:
    nets = network(name), network(name).to(memory_format=LAST)
    for made in nets:
        for layer in made.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()  # its noise is drawn in the order of the memory
    usual, last = map(run, nets)
    assert usual.keys() == last.keys()
    for key, value in usual.items():
        torch.testing.assert_close(last[key], value, rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", ["resnet, instance", "mobile", "discriminator"])
@pytest.mark.parametrize("batch", [1, 2])
def test_no_layer_leaves_channels_last(name: str, batch: int) -> None:
    made = network(name).to(memory_format=LAST)
    left = []
    for layer in made.modules():
        if not list(layer.children()):
            layer.register_forward_hook(
                lambda layer, args, y: left.append(str(layer)) if not y.is_contiguous(memory_format=LAST) else None
            )
    made(torch.randn(batch, 3, 32, 32, dtype=torch.float64).to(memory_format=LAST))
    assert left == []


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "discriminator"])
def test_features_computed_again_are_the_same(name: str) -> None:
    kept, again = network(name), network(name)
    again.recompute_features()  # type: ignore[operator]
    expected, found = run(kept), run(again)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-15)
    with torch.no_grad():
        assert torch.equal(
            kept.eval()(torch.zeros(1, 3, 32, 32).double()), again.eval()(torch.zeros(1, 3, 32, 32).double())
        )


@pytest.mark.parametrize("name", ["unet, instance", "resnet, instance"])
def test_features_computed_again_are_not_kept(name: str) -> None:
    def kept_bytes(made: nn.Module) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if not isinstance(tensor, nn.Parameter):
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            made(torch.randn(1, 3, 64, 64, dtype=torch.float64))
        return sum(sizes.values())

    again = network(name)
    usual = kept_bytes(again)
    again.recompute_features()  # type: ignore[operator]
    assert kept_bytes(again) < 0.65 * usual


def test_recomputing_counts_a_batch_once() -> None:
    torch.manual_seed(0)
    norm = nn.Sequential(nn.BatchNorm2d(2))
    recomputed(norm, torch.randn(2, 2, 3, 3)).sum().backward()
    assert norm[0].num_batches_tracked == 1
    assert norm[0].momentum == 0.1


def test_a_gradient_that_is_computed_at_once_leaves_nothing_else() -> None:
    """The value and the gradient, through what made the image, and times what the loss is weighted by."""
    torch.manual_seed(0)
    network = PatchDiscriminator(3, 4, 1, "instance").double().requires_grad_(False)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    kept: list[torch.Size] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor

    def loss(image: Tensor) -> Tensor:
        return network(image).square().mean()

    (expected,) = torch.autograd.grad(3 * loss(x.tanh()), x)
    image = x.tanh()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = with_gradient(loss, image)
    assert kept[-1] == x.shape
    assert value.grad_fn is not None
    assert [function for function, _ in value.grad_fn.next_functions] == [image.grad_fn]
    torch.testing.assert_close(value.detach(), loss(x.detach().tanh()), rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(3 * value, x)[0], expected, rtol=1e-13, atol=0)
    with torch.no_grad():
        assert with_gradient(loss, image) == value
    # Gradients of float16 would vanish before the loss scale is on them.
    with torch.autocast("cpu", torch.float16):
        assert "EarlyGradient" not in type(with_gradient(lambda half: half.mean(), image).grad_fn).__name__
