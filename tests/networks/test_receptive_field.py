"""Fields, places and maps of many networks against what their own outputs depend on, and against a forward pass."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import spectral_norm as spectral_norm_by_hook
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from patchlight.networks import (
    Discriminator,
    InstanceNorm2d,
    PatchDiscriminator,
    PixelDiscriminator,
    ReflectionPad2d,
    ResNetGenerator,
    SyncBatchNorm,
    UNetGenerator,
    as_maps,
    patch_grids,
    receptive_field,
)
from patchlight.networks.layers import BlurDownsample

REFERENCE = {0: (1, 256), 1: (16, 126), 2: (34, 62), 3: (70, 30), 4: (142, 14), 5: (286, 6), 6: (574, 2)}
"""Receptive field, and patch map for 256 pixels, by n_layers; 0 is the pixel discriminator."""

NORMS = nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm
STEPWISE = nn.SiLU | nn.GELU | nn.ReLU | nn.LeakyReLU | nn.PReLU | nn.Hardswish


def discriminator(n_layers: int, norm: str = "none") -> PatchDiscriminator | PixelDiscriminator:
    if n_layers == 0:
        return PixelDiscriminator(3, ndf=4, norm=norm)  # type: ignore[arg-type]
    return PatchDiscriminator(3, ndf=4, n_layers=n_layers, norm=norm)  # type: ignore[arg-type]


def conv(i: int, o: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, kernel, stride, padding=(kernel - 1) // 2)


class Residual(nn.Module):
    """Two convolutions beside a shortcut, both of which halve the resolution by a mean."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(2, i), nn.SiLU(), conv(i, o, 3), nn.GroupNorm(2, o), nn.SiLU(), conv(o, o, 3)
        )
        self.shortcut = conv(i, o, 1)
        self.down = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.body(x)) + self.shortcut(self.down(x))  # type: ignore[no-any-return]


def residual() -> nn.Sequential:
    """Layer after layer its field would be 106 pixels."""
    return nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), Residual(4, 4), Residual(4, 4), nn.SiLU(), conv(4, 1, 3))


class Shaped(nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, forward: Callable[[dict[str, nn.Module], Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleDict(layers)
        self.run = forward

    def forward(self, image: Tensor) -> Any:
        return self.run(dict(self.steps.items()), image)


def channels_last(m: dict[str, nn.Module], x: Tensor) -> Any:
    return m["b"](m["n"](m["a"](x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def channel_norm(m: dict[str, nn.Module], x: Tensor) -> Any:
    features = m["a"](x)
    centred = features - features.mean(1, keepdim=True)
    return m["b"](centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt())


def scaled(down: nn.Module) -> Shaped:
    parts = {"a": discriminator(1), "b": discriminator(2), "d": down}
    return Shaped(lambda m, x: (m["a"](x), m["b"](m["d"](x))), **parts)


class Filtered(nn.Module):
    """A fixed filter of 5 x 5, of which the outer ring is zero."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "kernel", F.pad(torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]), (1, 1, 1, 1))[None, None]
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel.to(x).expand(x.shape[1], 1, -1, -1), padding=2, groups=x.shape[1])


CHAINS: dict[str, tuple[nn.Module, int]] = {
    "dilated": (nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.MaxPool2d(2), nn.Conv2d(4, 1, 3, padding="same")), 10),
    "padded": (nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 1, 3, padding="valid"), nn.AvgPool2d(2)), 4),
    "group norm, SiLU": (nn.Sequential(conv(3, 4, 3, 2), nn.GroupNorm(2, 4), nn.SiLU(), conv(4, 1, 3)), 7),
    "GELU, PReLU, dropout": (
        nn.Sequential(
            conv(3, 4, 3), nn.GELU(), nn.Dropout(0.5), conv(4, 4, 3, 2), nn.PReLU(4), nn.Dropout2d(), conv(4, 1, 3)
        ),
        9,
    ),
    "pixel-unshuffle": (nn.Sequential(nn.PixelUnshuffle(2), conv(12, 4, 3), nn.PixelUnshuffle(2), conv(16, 1, 3)), 16),
    "blur pooling": (nn.Sequential(conv(3, 4, 3), BlurDownsample(), nn.LeakyReLU(0.2, inplace=True), conv(4, 1, 3)), 9),
    "spectral norm": (nn.Sequential(spectral_norm(conv(3, 4, 3, 2)), nn.ReLU(), spectral_norm(conv(4, 1, 3))), 7),
    "spectral norm by a hook": (
        nn.Sequential(spectral_norm_by_hook(conv(3, 4, 3, 2)), spectral_norm_by_hook(conv(4, 1, 3))),
        7,
    ),
    "our layers": (
        nn.Sequential(ReflectionPad2d(2), nn.Conv2d(3, 4, 5, 2), InstanceNorm2d(4), SyncBatchNorm(4), conv(4, 1, 3)),
        9,
    ),
    "reflecting convolutions": (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, padding_mode="reflect"), conv(4, 1, 3)), 7),
    "groups": (nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 1, 3)), 5),
    "functional": (
        Shaped(lambda m, x: m["b"](F.avg_pool2d(F.relu(m["a"](x)), 2)), a=conv(3, 4, 3), b=conv(4, 1, 3)),
        8,
    ),
    "functions without a layer": (
        Shaped(lambda m, x: m["b"](F.gelu(m["a"](x)).sigmoid()), a=conv(3, 4, 3), b=conv(4, 1, 3)),
        5,
    ),
}

MEASURED: dict[str, tuple[nn.Module, int]] = {
    "residual, GroupNorm, SiLU": (residual(), 50),
    "an addition": (Shaped(lambda m, x: m["a"](x) + m["s"](x), a=conv(3, 1, 5), s=nn.Identity()), 5),
    "a shortcut of one pixel": (Shaped(lambda m, x: m["a"](x) + m["s"](x), a=conv(3, 2, 5), s=conv(3, 2, 1)), 5),
    "an addition in place": (Shaped(lambda m, x: m["s"](x).add_(m["a"](x)), a=conv(3, 1, 5), s=conv(3, 1, 1)), 5),
    "a difference of equal layers": (Shaped(lambda m, x: m["a"](x) - m["b"](x), a=conv(3, 1, 3), b=conv(3, 1, 3)), 3),
    "a maximum": (Shaped(lambda m, x: -m["p"](m["a"](x)), a=conv(3, 2, 3), p=nn.MaxPool2d(2)), 4),
    "a dilated maximum": (
        Shaped(lambda m, x: 2 * m["p"](m["a"](x)), a=nn.Conv2d(3, 1, 3), p=nn.MaxPool2d(2, 2, dilation=3)),
        6,
    ),
    "branches": (Shaped(lambda m, x: m["a"](x) + m["b"](x), a=conv(3, 1, 3), b=conv(3, 1, 5)), 5),
    "a layer without effect": (Shaped(lambda m, x: m["b"](m["a"](x) * 0 + x), a=conv(3, 3, 3), b=conv(3, 1, 3)), 3),
    "a strided shortcut": (Shaped(lambda m, x: m["a"](x) + m["s"](x), a=conv(3, 1, 3, 2), s=conv(3, 1, 1, 2)), 3),
    "a functional blur": (Shaped(lambda m, x: F.avg_pool2d(m["a"](x), 3, 1, 1) + 0, a=conv(3, 1, 3)), 5),
    "dense blocks": (Shaped(lambda m, x: m["b"](torch.cat([x, m["a"](x)], 1)), a=conv(3, 4, 3), b=conv(7, 1, 3)), 5),
    "a shift": (Shaped(lambda m, x: m["a"](F.pad(x, (2, 0, 2, 0))), a=nn.Conv2d(3, 1, 3)), 3),
    "an even kernel padded to the same size": (nn.Conv2d(3, 1, 4, padding="same"), 4),
    "pooling to the last pixel": (nn.Sequential(conv(3, 1, 3), nn.MaxPool2d(2, ceil_mode=True)), 4),
    "a fixed filter": (nn.Sequential(Filtered(), conv(3, 1, 3)), 5),
    "every second pixel": (Shaped(lambda m, x: m["b"](m["a"](x)[..., ::2, ::2]), a=conv(3, 4, 3), b=conv(4, 1, 3)), 7),
    "a gate": (Shaped(lambda m, x: m["a"](x) * torch.sigmoid(m["b"](x)), a=conv(3, 1, 3), b=conv(3, 1, 5)), 5),
    "a norm of channels": (
        Shaped(lambda m, x: m["b"](F.normalize(m["a"](x), dim=1)), a=conv(3, 4, 3), b=conv(4, 1, 3)),
        5,
    ),
    "channels last": (Shaped(channels_last, a=conv(3, 4, 3), n=nn.LayerNorm(4), b=conv(4, 1, 3)), 5),
    "a norm of channels by hand": (Shaped(channel_norm, a=conv(3, 4, 3), b=conv(4, 1, 3)), 5),
}

SCALES = {
    "a mean": (scaled(nn.AvgPool2d(2)), [(16, 2, 3.0), (68, 8, 12.0)]),
    "a wider mean": (scaled(nn.AvgPool2d(3, 2, 1, count_include_pad=False)), [(16, 2, 3.0), (69, 8, 11.5)]),
    "interpolation": (scaled(nn.Upsample(scale_factor=0.5, mode="bilinear")), [(16, 2, 3.0), (68, 8, 12.0)]),
    "a quarter": (scaled(nn.Upsample(scale_factor=0.25, mode="area")), [(16, 2, 3.0), (136, 16, 24.0)]),
}


def depends_on(network: nn.Module, number: int, side: int, index: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge of what one value sees, by the gradient of the network without its norms.

    It has positive random weights. A maximum looks at one pixel, so there it is the gradient of several images.
    """
    network = copy.deepcopy(network).eval()
    torch.manual_seed(0)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORMS):
                setattr(parent, name, nn.Identity())
    for name, parameter in network.named_parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
        with torch.no_grad():
            parameter.mul_(0 if name.endswith("bias") else 1 / parameter[0].numel())
    network.double()
    for _ in range(3 * any(map(is_parametrized, network.modules()))):
        network.train()(torch.rand(1, 3, side, side, dtype=torch.float64))
    network.eval()
    n_images = 24 if any(isinstance(module, nn.MaxPool2d) for module in network.modules()) else 1
    images = torch.rand(n_images, 3, side, side, dtype=torch.float64, requires_grad=True)
    values = as_maps(network(images))[number][:, :, index[0], index[1]]
    (gradient,) = torch.autograd.grad(values.sum(), images)
    seen = gradient.abs().sum(dim=(0, 1)) > 0
    rows, columns = seen.any(dim=1).nonzero().flatten().tolist(), seen.any(dim=0).nonzero().flatten().tolist()
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def check(network: nn.Module, side: int) -> None:
    """Compare maps, and patches in the middle and in a corner, with the network's own."""
    side = -(-side // 8) * 8
    grids = patch_grids(network, side, side + 16)
    maps = as_maps(copy.deepcopy(network).eval()(torch.rand(1, 3, side, side + 16)))
    assert [grid.size for grid in grids] == [tuple(x.shape[2:]) for x in maps]
    for number, grid in enumerate(patch_grids(network, side, side)):
        rows, columns = grid.size
        for index in ((rows // 2, columns // 2 - 1), (rows - 1, 0)):
            edges = tuple(min(max(round(edge), 0), side) for edge in grid.patch(*index))
            assert depends_on(network, number, side, index) == edges, (number, index)


@pytest.mark.parametrize(("n_layers", "expected"), REFERENCE.items())
def test_field_and_map_of_the_patchgan(n_layers: int, expected: tuple[int, int]) -> None:
    network = discriminator(n_layers, norm="instance")
    field, side = expected
    assert receptive_field(network) == field
    assert [grid.size for grid in network.patch_grids(256, 256)] == [(side, side)]
    if n_layers in (1, 2, 3):
        check(network, field + 64)


@pytest.mark.parametrize(("network", "field"), (CHAINS | MEASURED).values(), ids=CHAINS | MEASURED)
def test_field_and_map_are_those_of_the_network_itself(network: nn.Module, field: int) -> None:
    assert receptive_field(network) == field
    check(network, 2 * field + 24)


@pytest.mark.parametrize(("network", "expected"), SCALES.values(), ids=SCALES)
def test_each_scale_has_patches_in_pixels_of_the_whole_image(
    network: nn.Module, expected: list[tuple[int, int, float]]
) -> None:
    assert [(g.field, g.stride, g.offset) for g in patch_grids(network, 96, 128)] == expected
    assert receptive_field(network) == expected[1][0]
    check(network, 160)


def test_chains_take_no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers count in the order of the forward pass, however they were registered, and as often as they are used."""
    monkeypatch.setattr(sys.modules[receptive_field.__module__], "measure", None)
    for network, field in CHAINS.values():
        assert receptive_field(copy.deepcopy(network)) == field
    assert [g.field for g in patch_grids(scaled(nn.AvgPool2d(2)), 96, 96)] == [16, 68]
    pool, twice = nn.AvgPool2d(2), conv(3, 3, 3)
    unordered = Shaped(lambda m, x: m["c"](m["c"](m["p"](x))), unused=conv(3, 3, 9), c=twice, p=pool)
    assert patch_grids(unordered, 64, 32) == patch_grids(nn.Sequential(pool, twice, twice), 64, 32)
    assert receptive_field(PatchDiscriminator(3, 1, 8)) == 2302


def attention(m: dict[str, nn.Module], x: Tensor) -> Tensor:
    features = m["a"](x)
    flat = features.flatten(2)
    weights = torch.softmax(flat.transpose(1, 2) @ flat, dim=-1)
    return m["b"](features + (flat @ weights.transpose(1, 2)).view_as(features))  # type: ignore[no-any-return]


WHOLE = {
    "attention": Shaped(attention, a=nn.Conv2d(3, 4, 4, 4), b=conv(4, 1, 3)),
    "a mean of the image": Shaped(lambda m, x: m["a"](x - x.mean((2, 3), True)), a=nn.Conv2d(3, 1, 4, 4)),
    "one value": nn.Sequential(conv(3, 1, 3), nn.AdaptiveAvgPool2d(1)),
    "a dense layer": nn.Sequential(
        nn.Conv2d(3, 2, 8, 8), nn.Flatten(), nn.Linear(2 * 10 * 10, 1), nn.Unflatten(1, (1, 1, 1))
    ),
}


@pytest.mark.parametrize("network", WHOLE.values(), ids=WHOLE)
def test_values_that_see_the_whole_image(network: nn.Module) -> None:
    (grid,) = patch_grids(network, 80, 80)
    rows = as_maps(network(torch.rand(1, 3, 80, 80)))[0].shape[2]
    assert (grid.field, grid.stride, grid.offset, grid.size) == (80, 80 / rows, 40 / rows, (rows, rows))
    with pytest.raises(ValueError, match="cannot be told: it sees all of any image, or takes images of one size only"):
        receptive_field(network)


UNKNOWN = {
    "nothing": (Shaped(lambda m, x: m["a"](x) * 0, a=conv(3, 1, 3)), "images of up to 1024 px show no whole patch"),
    "what gradients do not show": (
        Shaped(lambda m, x: m["a"](x) + m["b"](x).detach(), a=conv(3, 1, 3), b=conv(3, 1, 5)),
        "depends on more than the 3 x 3 px",
    ),
    "the largest of some": (
        Shaped(
            lambda m, x: F.unfold(m["a"](x), 3, padding=1).amax(1).view(-1, 1, *x.shape[2:]) + 0 * x[:, :1],
            a=conv(3, 1, 3),
        ),
        "not square|depends on more",
    ),
    "a median": (
        Shaped(lambda m, x: m["a"](x).unfold(2, 3, 1).median(-1)[0], a=conv(3, 1, 3)),
        "not square|of the shape",
    ),
    "around the image": (nn.Conv2d(3, 1, 3, padding=1, padding_mode="circular"), "row 0, column 0 depends on more"),
    "an oblong": (nn.Conv2d(3, 1, (3, 5)), "not square|of the shape"),
    "enlarged features": (nn.Sequential(conv(3, 1, 3, 2), nn.Upsample(scale_factor=2)), "not at even distances"),
    "a U-Net": (UNetGenerator(3, 3, 2, 2), "not at even distances"),
    "a residual generator": (ResNetGenerator(3, 3, 1, 2), "not at even distances"),
    "a list": (nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten()), "of the shape"),
    "another size": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 1)), "takes no image|one size only"),
    "one size": (
        Shaped(lambda m, x: m["a"](F.interpolate(x, size=(64, 64))), a=conv(3, 1, 3)),
        "makes 64 patches 1 px apart of 64 px",
    ),
    "too much": (
        Shaped(lambda m, x: m["a"](x) + 0, a=nn.Conv2d(3, 1, 2, dilation=1500, padding=750)),
        "no whole patch",
    ),
}


@pytest.mark.parametrize(("network", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_told_is_not_drawn(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patch_grids(network, 96, 96)


def test_values_of_the_image_may_decide() -> None:
    network = Shaped(lambda m, x: m["a"](x) * (1 if x.mean().item() > 0 else 2), a=conv(3, 1, 3))
    assert [(grid.field, grid.size) for grid in patch_grids(network, 20, 30)] == [(3, (20, 30))]


def test_telling_the_field_leaves_no_trace() -> None:
    network = PatchDiscriminator(3, ndf=2, n_layers=1, spectral_norm=True, norm="batch")
    branched = Shaped(lambda m, x: m["d"](F.dropout(x)) + 0, d=network)
    before, random = {k: v.clone() for k, v in branched.state_dict().items()}, torch.get_rng_state()
    with torch.inference_mode():
        assert receptive_field(branched) == 16
        assert patch_grids(branched, 40, 30)[0].size == (18, 13)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in branched.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in branched.modules())
    branched.steps["d"].layers.append(nn.AvgPool2d(2))  # type: ignore[operator, union-attr]
    assert receptive_field(branched) == 18, "a network that was changed is looked at again"


def test_a_discriminator_returns_maps() -> None:
    class Lost(Discriminator):
        def forward(self, image: Tensor) -> dict[str, Tensor]:
            return {"map": image}

    one = torch.zeros(1, 1, 2, 2)
    assert as_maps(one) == (one,)
    assert as_maps([one, one]) == (one, one)
    with pytest.raises(ValueError, match="returns a map B 1 h w or a tuple of maps, not dict"):
        Lost().patch_grids(64, 64)
