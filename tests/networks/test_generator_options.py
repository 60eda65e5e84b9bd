"""Ways to double a resolution, attention, separable blocks, and the generator at a quarter of the resolution."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.inference.tiles import MIN_OVERLAP
from patchlight.networks import Generator, QuarterResNetGenerator, ResNetGenerator, UNetGenerator, init_weights
from patchlight.networks.generator_layers import SelfAttention, Upsample, upsampling_layers
from patchlight.networks.layers import InitType, PixelShuffleConv2d
from patchlight.networks.residual import SeparableResidualBlock

UPSAMPLES = get_args(Upsample)


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("kernel_size", [3, 4])
def test_every_way_up_doubles(upsample: Any, kernel_size: Any) -> None:
    layers = nn.Sequential(*upsampling_layers(upsample, 6, 2, kernel_size=kernel_size, bias=True))
    assert layers(torch.randn(2, 6, 5, 4)).shape == (2, 2, 10, 8)
    assert layers[-1].bias is not None
    without = nn.Sequential(*upsampling_layers(upsample, 6, 2, kernel_size=kernel_size, bias=False))
    assert without[-1].bias is None


def test_interpolation_comes_before_the_convolution() -> None:
    """Of a constant image both are constant away from the edge, which a transposed convolution is not."""
    torch.manual_seed(0)
    spread = {}
    for upsample in UPSAMPLES:
        layers = nn.Sequential(*upsampling_layers(upsample, 6, 2, kernel_size=4, bias=True)).double()
        spread[upsample] = layers(torch.ones(1, 6, 8, 8).double())[..., 4:-4, 4:-4].std(dim=(2, 3)).max().item()
    assert spread["transposed"] > 0.01
    assert max(spread["nearest"], spread["bilinear"], spread["pixelshuffle"]) < 1e-12


@pytest.mark.parametrize("init_type", get_args(InitType))
def test_untrained_shuffled_pixels_are_an_enlarged_map(init_type: Any) -> None:
    """As if a convolution's result were enlarged, with PyTorch's weights and with those that the project draws."""
    torch.manual_seed(0)
    layer = PixelShuffleConv2d(64, 32, factor=2)
    image = torch.randn(1, 64, 6, 6)
    for _ in range(2):
        plain = nn.Conv2d(64, 32, 3, padding=1)
        with torch.no_grad():
            plain.weight.copy_(layer.first_kernels)
            plain.bias.copy_(layer.bias[::4])  # type: ignore[index,union-attr]
        torch.testing.assert_close(layer(image), F.interpolate(plain(image), scale_factor=2, mode="nearest"))
        init_weights(layer, init_type, gain=0.5)
    # Drawn as for the 32 maps that there are at first, not for 128.
    expected = {"normal": 0.5, "xavier": 0.5 * (2 / (96 * 9)) ** 0.5, "kaiming": (2 / (64 * 9)) ** 0.5}
    if init_type in expected:
        assert layer.weight.std().item() == pytest.approx(expected[init_type], rel=0.02)
    else:
        rows = layer.first_kernels.flatten(1) / 0.5
        assert torch.allclose(rows @ rows.T, torch.eye(32), atol=1e-5)
    assert layer.bias is not None
    assert (layer.bias == 0).all()


def test_shuffled_pixels_learn_apart() -> None:
    torch.manual_seed(0)
    layer = PixelShuffleConv2d(2, 3, factor=2)
    (layer(torch.randn(1, 2, 4, 4)) * torch.randn(1, 3, 8, 8)).sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    first, second = gradient[0], gradient[1]
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_generators_with_every_way_up(upsample: Any) -> None:
    torch.manual_seed(0)
    for network in (UNetGenerator(1, 2, 3, 4, upsample=upsample), ResNetGenerator(1, 2, 1, 4, upsample=upsample)):
        output = network(torch.randn(2, 1, 16, 24))
        assert output.shape == (2, 2, 16, 24)
        assert output.abs().max() <= 1
        output.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        transposed = sum(isinstance(layer, nn.ConvTranspose2d) for layer in network.modules())
        assert transposed == ({UNetGenerator: 3, ResNetGenerator: 2}[type(network)] if upsample == "transposed" else 0)


def test_options_at_their_defaults_change_no_weight() -> None:
    """Neither names nor numbers: the layers of the options are not there, and nothing more is drawn."""
    for kind in (UNetGenerator, ResNetGenerator):
        states = []
        for settings in ({}, {"upsample": "transposed", "attention": False}):
            torch.manual_seed(0)
            states.append(kind(3, 3, 3, 4, **settings).state_dict())  # type: ignore[arg-type]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_attention_is_the_equation_and_nothing_at_first() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(16).double()
    x = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    init_weights(layer, gain=1.0)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gate.fill_(0.7)
    query, key, value = (part(x).flatten(2) for part in (layer.query, layer.key, layer.value))
    assert query.shape == (2, 2, 15)
    energies = torch.einsum("bci,bcj->bij", key, query)  # s_ij of Zhang et al., equation 1
    weights = energies.softmax(dim=1)
    mixed = torch.einsum("bij,bci->bcj", weights, value).reshape(2, 2, 3, 5)
    torch.testing.assert_close(layer(x), x + 0.7 * layer.output(mixed))


def test_the_gate_learns_from_the_first_step() -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(3, 3, n_blocks=2, ngf=4, attention=True)
    network(torch.randn(1, 3, 16, 16)).square().sum().backward()
    (attention,) = (layer for layer in network.modules() if isinstance(layer, SelfAttention))
    assert attention.gate.grad is not None
    assert attention.gate.grad.abs().item() > 0


@pytest.mark.parametrize(("num_downs", "side"), [(1, 32), (3, 8), (4, 4), (5, 4)])
def test_place_of_attention_in_a_unet(num_downs: int, side: int) -> None:
    """At a sixteenth of the resolution, or the lowest."""
    network = UNetGenerator(3, 3, num_downs, ngf=2, attention=True)
    assert places(network) == [(side, side)]


@pytest.mark.parametrize(("n_blocks", "index"), [(0, 10), (1, 11), (9, 15)])
def test_place_of_attention_in_a_resnet(n_blocks: int, index: int) -> None:
    network = ResNetGenerator(3, 3, n_blocks, ngf=2, attention=True)
    assert [i for i, layer in enumerate(network.layers) if isinstance(layer, SelfAttention)] == [index]
    assert places(network) == [(16, 16)]
    assert places(QuarterResNetGenerator(3, 3, n_blocks, ngf=2, attention=True)) == [(16, 16)]


def places(network: Generator) -> list[tuple[int, ...]]:
    """The sizes of the maps that attention sees of 64 pixels."""
    seen: list[tuple[int, ...]] = []
    for layer in network.modules():
        if isinstance(layer, SelfAttention):
            layer.register_forward_hook(lambda layer, inputs, output: seen.append(tuple(output.shape[2:])))
    network.eval()(torch.zeros(1, 3, 64, 64))
    return seen


def test_a_separable_block_has_the_layers_of_its_source() -> None:
    block = SeparableResidualBlock(8, norm="batch", dropout=True, padding="zero")
    depthwise, norm, pointwise, _, _, dropout = list(block.layers)[:6]
    assert (depthwise.groups, depthwise.kernel_size, depthwise.bias) == (8, (3, 3), None)
    assert (pointwise.groups, pointwise.kernel_size) == (1, (1, 1))
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(dropout, nn.Dropout)
    weights = sum(parameter.numel() for parameter in block.parameters() if parameter.ndim == 4)
    assert weights == 2 * (9 * 8 + 8 * 8)
    x = torch.randn(1, 8, 5, 6)
    torch.testing.assert_close(block.eval()(x), x + block.layers(x))


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_separable_blocks_of_every_kind(padding: Any, norm: Any) -> None:
    network = ResNetGenerator(3, 1, n_blocks=2, ngf=2, norm=norm, dropout=True, padding=padding, block="separable")
    assert network(torch.randn(2, 3, 16, 20)).shape == (2, 1, 16, 20)
    assert sum(isinstance(layer, nn.Dropout) for layer in network.modules()) == 2
    assert sum(layer.groups == 8 for layer in network.modules() if isinstance(layer, nn.Conv2d)) == 4


def test_the_generator_at_a_quarter_of_the_resolution() -> None:
    torch.manual_seed(0)
    network = QuarterResNetGenerator(3, 1, n_blocks=2, ngf=4)
    sides = []
    for layer in network.layers[2:-2]:
        layer.register_forward_hook(lambda layer, inputs, output: sides.append(tuple(output.shape[1:])))
    output = network(torch.randn(2, 3, 32, 48))
    assert output.shape == (2, 1, 32, 48)
    assert [side for side in sides if side[0] != 16 or side[1:] != (8, 12)] == [(16, 10, 14)]  # the padding of the end
    # Untrained, it is an enlarged image: each square of 4 x 4 pixels has one colour.
    assert torch.equal(output, F.interpolate(output[..., ::4, ::4], scale_factor=4, mode="nearest"))
    with pytest.raises(ValueError, match="multiples of 4, got 18x16"):
        network(torch.zeros(1, 3, 18, 16))


REACHING: dict[str, Any] = {
    "resnet_9": lambda: ResNetGenerator(1, 1, 9, 1, "none"),
    "mobile": lambda: ResNetGenerator(1, 1, 9, 1, "none", block="separable"),
    "quarter": lambda: QuarterResNetGenerator(1, 1, 9, 1, "none"),
    **{name: lambda name=name: ResNetGenerator(1, 1, 9, 1, "none", upsample=name) for name in UPSAMPLES[1:]},
}


@pytest.mark.parametrize("name", REACHING)
def test_residual_generators_see_no_farther_than_tiles_overlap(name: str) -> None:
    """The statistics of norms apart, which are those of the whole image in every tile."""
    network = REACHING[name]()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    image = torch.full((1, 1, 256, 256), 1e-3, dtype=torch.float64, requires_grad=True)
    network.double()(image)[0, 0, 126:130, 126:130].sum().backward()
    assert image.grad is not None
    rows = (image.grad[0, 0].abs().sum(dim=1) > 0).nonzero().flatten()
    reach = max(126 - int(rows[0]), int(rows[-1]) - 129)
    assert 70 < reach <= MIN_OVERLAP // 2


@pytest.mark.parametrize(
    "settings", [{}, {"norm": "none"}, {"block": "separable"}, {"upsample": "pixelshuffle"}], ids=str
)
def test_attention_leaves_the_numbers_of_layers_as_they_are(settings: Any) -> None:
    """A feature of the layer before it is what it has made of it."""
    torch.manual_seed(0)
    plain = ResNetGenerator(3, 3, n_blocks=3, ngf=4, **settings)
    network = ResNetGenerator(3, 3, n_blocks=3, ngf=4, attention=True, **settings)
    assert list(dict.fromkeys(network.layer_numbers())) == plain.layer_numbers()
    index = next(i for i, layer in enumerate(network.layers) if isinstance(layer, SelfAttention))
    assert network.layer_numbers()[index] == network.layer_numbers()[index - 1] == 11  # the second block
    attention = network.layers[index]
    nn.init.constant_(attention.gate, 0.5)  # type: ignore[arg-type]
    image = torch.randn(1, 3, 16, 16)
    before, after = network.layers[:index](image), network.encode(image, [11])[0]
    torch.testing.assert_close(after, attention(before))
    assert not torch.allclose(after, before)


@pytest.mark.parametrize(
    ("settings", "last"),
    [({}, 19), ({"upsample": "pixelshuffle"}, 19), ({"upsample": "nearest"}, 21), ({"block": "separable"}, 19)],
    ids=str,
)
def test_features_of_every_layer(settings: Any, last: int) -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(3, 3, n_blocks=1, ngf=2, **settings).eval()
    image = torch.randn(1, 3, 16, 16)
    assert network.layer_numbers() == list(range(last + 1))
    for number in network.layer_numbers():
        (feature,) = network.encode(image, [number])
        torch.testing.assert_close(feature, network.layers[: number + 1](image))


def test_features_of_the_generator_at_a_quarter_of_the_resolution() -> None:
    torch.manual_seed(0)
    network = QuarterResNetGenerator(3, 3, n_blocks=2, ngf=2)
    assert network.layer_numbers() == list(range(10))
    shapes = [tuple(f.shape[1:]) for f in network.encode(torch.randn(1, 3, 16, 24), [0, 2, 5, 6, 9])]
    assert shapes == [(48, 4, 6), (8, 4, 6), (8, 4, 6), (8, 4, 6), (3, 16, 24)]


def test_wrong_choices() -> None:
    with pytest.raises(ValueError, match="upsample must be one of transposed, nearest, bilinear, pixelshuffle, got"):
        UNetGenerator(3, 3, upsample="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="block must be one of residual, separable, got 'mobile'"):
        ResNetGenerator(3, 3, block="mobile")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="upsample=nearest is another way up than antialias=both"):
        ResNetGenerator(3, 3, upsample="nearest", antialias="both")
    with pytest.raises(ValueError, match="ngf must be an integer of at least 1, got 0"):
        QuarterResNetGenerator(3, 3, ngf=0)


COMPILED: dict[str, Any] = {
    "unet": lambda: UNetGenerator(3, 3, 3, 2, upsample="pixelshuffle", attention=True),
    "resnet": lambda: ResNetGenerator(3, 3, 1, 2, upsample="nearest", block="separable"),
    "quarter": lambda: QuarterResNetGenerator(3, 3, 1, 2, attention=True),
}


@pytest.mark.parametrize("name", COMPILED)
def test_options_compile_without_a_break(name: str) -> None:
    """As far as the graph with its backward pass; making code of it takes half a minute."""
    torch.manual_seed(0)
    network = COMPILED[name]()
    image = torch.randn(1, 3, 16, 16)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    expected, found = derived(network, image), derived(compiled, image)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def derived(network: Any, image: Tensor) -> list[Tensor]:
    network.zero_grad()
    output = network(image)
    output.square().mean().backward()
    return [output.detach(), *(parameter.grad.clone() for parameter in network.parameters())]
