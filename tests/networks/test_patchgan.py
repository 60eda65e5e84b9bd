from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import spectral_norm

from patchlight.networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    ResNetGenerator,
    UNetGenerator,
    patch_grid,
    patch_map_size,
    receptive_field,
)  # fmt: skip

REFERENCE = {0: (1, 256), 1: (16, 126), 2: (34, 62), 3: (70, 30), 4: (142, 14), 5: (286, 6), 6: (574, 2)}
"""Receptive field, and patch map for 256 pixels, by n_layers; 0 is the pixel discriminator."""


def discriminator(n_layers: int, norm: str = "none") -> PatchDiscriminator | PixelDiscriminator:
    if n_layers == 0:
        return PixelDiscriminator(3, ndf=4, norm=norm)  # type: ignore[arg-type]
    return PatchDiscriminator(3, ndf=4, n_layers=n_layers, norm=norm)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_layers", "expected"), REFERENCE.items())
def test_receptive_field_and_map_by_arithmetic(n_layers: int, expected: tuple[int, int]) -> None:
    network = discriminator(n_layers, norm="instance")
    field, side = expected
    assert receptive_field(network) == field
    assert patch_map_size(network, 256, 256) == (side, side)
    assert network(torch.zeros(2, 3, 256, 256)).shape == (2, 1, side, side)


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, 4])
def test_receptive_field_by_gradient(n_layers: int) -> None:
    """A logit far from the border depends on a square of exactly that many pixels."""
    network = discriminator(n_layers).double()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    field = REFERENCE[n_layers][0]
    size = 3 * field + 64
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    assert (rows[-1] - rows[0] + 1).item() == field
    assert (columns[-1] - columns[0] + 1).item() == field
    assert seen.sum().item() == field * field


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, 4])
def test_place_of_a_patch_by_gradient(n_layers: int) -> None:
    network = discriminator(n_layers).double()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    size = 3 * REFERENCE[n_layers][0] + 64
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    row, column = logits.shape[2] // 2, logits.shape[3] // 2 - 1
    logits[0, 0, row, column].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    edges = tuple(float(e) for e in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    assert patch_grid(network).patch(row, column) == edges


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
    network = discriminator(3)
    assert network(torch.zeros(1, 3, 96, 70)).shape[2:] == patch_map_size(network, 96, 70) == (10, 6)


def test_smallest_image() -> None:
    network = discriminator(3)
    assert network.min_size == 24
    assert network(torch.zeros(1, 3, 24, 24)).shape == (1, 1, 1, 1)
    assert patch_map_size(network, 23, 300) == (0, 0)
    with pytest.raises(ValueError, match="n_layers=3 leaves an empty patch map for a 23x300 image: .* 24 pixels"):
        network(torch.zeros(1, 3, 23, 300))


@pytest.mark.parametrize(("key", "value"), [("n_layers", 0), ("n_layers", 2.5), ("ndf", -1), ("in_channels", True)])
def test_refuses_bad_numbers(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{key} must be an integer of at least 1, got {value!r}"):
        PatchDiscriminator(**{"in_channels": 3, key: value})  # type: ignore[arg-type]


def test_refuses_unknown_norm() -> None:
    with pytest.raises(ValueError, match="norm must be one of batch, instance, none, sync_batch, got 'layer'"):
        PatchDiscriminator(3, norm="layer")  # type: ignore[arg-type]


def test_receptive_field_of_other_stacks() -> None:
    dilated = nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.MaxPool2d(2), nn.Conv2d(4, 1, 3, padding="same"))
    assert receptive_field(dilated) == 1 + 2 * 2 + 1 + 2 * 2
    assert patch_map_size(dilated, 20, 12) == (8, 4)
    padded = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 1, 3, padding="valid"), nn.AvgPool2d(2))
    assert receptive_field(padded) == 4
    assert patch_map_size(padded, 8, 6) == (4, 3)


class Shaped(nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, forward: Callable[[dict[str, nn.Module], Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleDict(layers)
        self.run = forward

    def forward(self, image: Tensor) -> Tensor:
        return self.run(dict(self.steps.items()), image)


def conv(i: int, o: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, kernel, stride, padding=(kernel - 1) // 2)


def test_layers_count_in_the_order_of_the_forward_pass() -> None:
    """However they were registered, and as often as they are used."""
    pool, twice = nn.AvgPool2d(2), conv(3, 3, 3)
    network = Shaped(lambda m, x: m["c"](m["c"](m["p"](x))), unused=conv(3, 3, 9), c=twice, p=pool)
    assert patch_grid(network) == patch_grid(nn.Sequential(pool, twice, twice))
    assert patch_map_size(network, 64, 32) == (32, 16)


FOLLOWED = {
    "functional activations": (Shaped(lambda m, x: m["b"](F.relu(m["a"](x))), a=conv(3, 4, 3, 2), b=conv(4, 1, 3)), 7),
    "a residual addition": (Shaped(lambda m, x: m["a"](x) + m["s"](x), a=conv(3, 1, 5), s=nn.Identity()), 5),
    "a shortcut of one pixel": (Shaped(lambda m, x: m["a"](x) + m["s"](x), a=conv(3, 2, 5), s=conv(3, 2, 1)), 5),
    "a maximum": (Shaped(lambda m, x: -m["p"](m["a"](x)), a=conv(3, 2, 3), p=nn.MaxPool2d(2)), 4),
    "spectral norm": (Shaped(lambda m, x: 2 * m["a"](x), a=spectral_norm(conv(3, 1, 3)), n=nn.BatchNorm2d(1)), 3),
    "values of the image": (Shaped(lambda m, x: m["a"](x) * (1 if x.mean().item() > 0 else 2), a=conv(3, 1, 3)), 3),
}


@pytest.mark.parametrize(("network", "field"), FOLLOWED.values(), ids=FOLLOWED)
def test_networks_that_are_no_chain_and_have_the_field_of_one(network: nn.Module, field: int) -> None:
    assert receptive_field(network) == field


LED_ASTRAY = {
    "branches": (Shaped(lambda m, x: m["a"](x) + m["b"](x), a=conv(3, 1, 3), b=conv(3, 1, 5)), "see 7 x 7 px .* 5 x 5"),
    "a layer without effect": (Shaped(lambda m, x: m["b"](m["a"](x) * 0 + x), a=conv(3, 3, 3), b=conv(3, 1, 3)), None),
    "a strided shortcut": (
        Shaped(lambda m, x: m["a"](x) + m["s"](x), a=conv(3, 1, 3, 2), s=conv(3, 1, 1, 2)),
        "make 16 x 16 values of 64 x 64 px, and it makes 32 x 32",
    ),
    "a functional pooling": (Shaped(lambda m, x: F.avg_pool2d(m["a"](x), 2), a=conv(3, 1, 3)), "it makes 32 x 32"),
    "a functional blur": (
        Shaped(lambda m, x: F.avg_pool2d(m["a"](x), 3, 1, 1), a=conv(3, 1, 3)), "see 3 x 3 px .* sees 5 x 5 px",
    ),
    "a mean of the image": (Shaped(lambda m, x: m["a"](x - x.mean((2, 3), True)), a=conv(3, 1, 3)), "sees 64 x 64 px"),
    "a shift": (Shaped(lambda m, x: m["a"](x).roll(1, 3), a=conv(3, 1, 3)), "from 9, and it sees 3 x 3 px from 8"),
    "nothing": (Shaped(lambda m, x: m["a"](x) * 0, a=conv(3, 1, 3)), "it sees nothing"),
    "two maps": (Shaped(lambda m, x: (m["a"](x), x), a=conv(3, 1, 3)), "makes tuple of it"),  # type: ignore[arg-type,return-value]
}  # fmt: skip


@pytest.mark.parametrize(("network", "message"), LED_ASTRAY.values(), ids=LED_ASTRAY)
def test_networks_of_which_arithmetic_would_say_something_wrong(network: nn.Module, message: str | None) -> None:
    with pytest.raises(ValueError, match=message or "does not follow from its layers"):
        receptive_field(network)


def test_telling_the_field_leaves_no_trace() -> None:
    network = PatchDiscriminator(3, ndf=2, n_layers=1, spectral_norm=True, norm="batch")
    branched = Shaped(lambda m, x: m["d"](F.dropout(x)) + 0, d=network)
    before, random = {k: v.clone() for k, v in branched.state_dict().items()}, torch.get_rng_state()
    with torch.inference_mode():
        assert receptive_field(branched) == 16
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in branched.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in branched.modules())
    branched.steps["d"].layers.append(nn.AvgPool2d(2))  # type: ignore[operator, union-attr]
    assert receptive_field(branched) == 18, "a network that was changed is looked at again"


@pytest.mark.parametrize(
    "network",
    [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 1)), nn.Conv2d(3, 1, (3, 5)), UNetGenerator(3, 3, 2, 2),
     ResNetGenerator(3, 3, 1, 2), nn.Conv2d(3, 1, 4, padding="same"), nn.Sequential(nn.MaxPool2d(2, ceil_mode=True))],
)  # fmt: skip
def test_receptive_field_refuses_what_it_cannot_know(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="receptive field|padding='same'"):
        patch_map_size(network, 64, 64)
