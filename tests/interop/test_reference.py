from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    QuarterResNetGenerator,
    ResNetGenerator,
    UNetGenerator,
)

NETWORKS: dict[str, Any] = {
    "patch": lambda norm: PatchDiscriminator(3, ndf=2, n_layers=2, norm=norm),
    "antialiased": lambda norm: PatchDiscriminator(3, ndf=2, n_layers=2, norm=norm, antialias=True),
    "pixel": lambda norm: PixelDiscriminator(3, ndf=2, norm=norm),
    "unet": lambda norm: UNetGenerator(3, 1, num_downs=5, ngf=2, norm=norm, dropout=True),
    "resnet": lambda norm: ResNetGenerator(3, 1, n_blocks=2, ngf=2, norm=norm, dropout=True),
}


@pytest.mark.parametrize("norm", ["batch", "instance", "none", "sync_batch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name: str, norm: str) -> None:
    torch.manual_seed(0)
    network, other = NETWORKS[name](norm), NETWORKS[name](norm)
    written = reference_state_dict(network)
    load_reference_weights(other, {f"module.{key}": value for key, value in reversed(written.items())})
    for key, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_old_files_have_statistics_of_instance_norm_and_none_of_batch_norm() -> None:
    network = PatchDiscriminator(3, ndf=2, n_layers=2, norm="instance")
    old = dict(reference_state_dict(network))
    for layer, width in (("model.3", 4), ("model.6", 8)):
        old |= {f"{layer}.running_mean": torch.zeros(width), f"{layer}.running_var": torch.ones(width)}
        old[f"{layer}.num_batches_tracked"] = torch.tensor(5)
    fresh = PatchDiscriminator(3, ndf=2, n_layers=2, norm="instance")
    load_reference_weights(fresh, old)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), fresh.parameters(), strict=True))

    batch = PatchDiscriminator(3, ndf=2, n_layers=2)
    oldest = {k: v for k, v in reference_state_dict(batch).items() if not k.endswith("num_batches_tracked")}
    load_reference_weights(PatchDiscriminator(3, ndf=2, n_layers=2), oldest)


def test_what_does_not_fit_is_refused_whole() -> None:
    network = PatchDiscriminator(3, ndf=2, n_layers=2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    wrong = {
        "depth": PatchDiscriminator(3, ndf=2, n_layers=3),
        "norm": PatchDiscriminator(3, ndf=2, n_layers=2, norm="instance"),
        "width": PatchDiscriminator(3, ndf=4, n_layers=2),
    }
    messages = {
        "depth": "have 8 layers .* has 6",
        "norm": "have 4 layers .* has 6",
        "width": r"has shape \(4, 3, 4, 4\), expected \(2, 3",
    }
    for name, other in wrong.items():
        with pytest.raises(ValueError, match=messages[name]):
            load_reference_weights(network, reference_state_dict(other))
    incomplete = reference_state_dict(network)
    del incomplete["model.3.running_var"]
    with pytest.raises(ValueError, match=r"layer model.3 holds .*'weight'\], expected .*'running_var'"):
        load_reference_weights(network, incomplete)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_networks_that_the_reference_does_not_have() -> None:
    with pytest.raises(ValueError, match="the reference code has no Linear"):
        reference_state_dict(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("network", "option"),
    [
        (ResNetGenerator(3, 3, 1, ngf=2, upsample="nearest"), "ResNetGenerator with upsample=nearest"),
        (ResNetGenerator(3, 3, 1, ngf=2, upsample="pixelshuffle"), "ResNetGenerator with upsample=pixelshuffle"),
        (ResNetGenerator(3, 3, 1, ngf=2, block="separable"), "ResNetGenerator with block=separable"),
        (ResNetGenerator(3, 3, 1, ngf=2, attention=True), "ResNetGenerator with attention=true"),
        (UNetGenerator(3, 3, 2, ngf=2, upsample="bilinear"), "UNetGenerator with upsample=bilinear"),
        (UNetGenerator(3, 3, 2, ngf=2, attention=True), "UNetGenerator with attention=true"),
        (QuarterResNetGenerator(3, 3, 1, ngf=2), "QuarterResNetGenerator"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_the_reference_does_not_have(network: nn.Module, option: str) -> None:
    with pytest.raises(ValueError, match=f"the reference code has no {option}$"):
        reference_state_dict(network)
    with pytest.raises(ValueError, match=f"the reference code has no {option}$"):
        load_reference_weights(network, {"model.1.weight": torch.zeros(2, 3, 7, 7)})


def test_bilinear_interpolation_on_the_way_up_is_what_cut_calls_antialiased() -> None:
    torch.manual_seed(0)
    ours, same = ResNetGenerator(3, 3, 1, ngf=2, upsample="bilinear"), ResNetGenerator(3, 3, 1, ngf=2, antialias="up")
    written = reference_state_dict(ours)
    assert [key for key in written if key.endswith("filt")] == ["model.11.filt", "model.15.filt"]
    load_reference_weights(same, written)
    image = torch.randn(1, 3, 16, 16)
    assert torch.equal(ours(image), same(image))
