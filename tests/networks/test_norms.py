"""Spectral norm, and batch norm over several ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import multiprocessing, nn

from patchlight.interop import reference_state_dict
from patchlight.networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    SyncBatchNorm,
    init_weights,
    receptive_field,
)
from two_ranks import halves


def spectral_norms(network: nn.Module) -> list[float]:
    """The largest singular value of each convolution's weight, as a matrix."""
    return [
        float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]


@pytest.mark.parametrize("kind", [PatchDiscriminator, PixelDiscriminator])
def test_spectral_norm_is_one_from_the_start(kind: type[PatchDiscriminator]) -> None:
    torch.manual_seed(0)
    network = kind(3, ndf=8, norm="none", spectral_norm=True)
    init_weights(network)
    for _ in range(20):  # each pass in training improves the estimate
        network(torch.randn(1, 3, 32, 32))
    assert spectral_norms(network) == pytest.approx([1.0] * len(spectral_norms(network)), rel=2e-2)
    plain = kind(3, ndf=8, norm="none")
    assert receptive_field(network) == receptive_field(plain)
    assert network.patch_grids(64, 48) == plain.patch_grids(64, 48)
    with pytest.raises(ValueError, match="the reference code has no .* with spectral_norm=true"):
        reference_state_dict(network)


def test_initial_weights_lie_before_spectral_norm() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(3, ndf=32, n_layers=2, norm="none", spectral_norm=True)
    init_weights(network, gain=0.02)
    original = network.state_dict()["layers.2.parametrizations.weight.original"]
    assert float(original.std()) == pytest.approx(0.02, rel=0.05)
    loaded = PatchDiscriminator(3, ndf=32, n_layers=2, norm="none", spectral_norm=True).eval()
    loaded.load_state_dict(network.state_dict())
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(loaded(image), network.eval()(image))


def test_in_one_process_it_is_batch_norm() -> None:
    own, stock = SyncBatchNorm(4), nn.BatchNorm2d(4)
    for _ in range(3):
        x = torch.randn(2, 4, 5, 5)
        assert torch.equal(own(x), stock(x))
    assert own.state_dict().keys() == stock.state_dict().keys()
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(own.eval()(x), stock.eval()(x))


@pytest.mark.filterwarnings("ignore:torch.distributed.nn.functional.all_reduce is deprecated:FutureWarning")
def test_two_ranks_share_their_statistics(tmp_path: Path) -> None:
    # Forked, because a new process imports torch for some seconds; but CUDA does not survive that.
    method = "spawn" if torch.cuda.is_initialized() else "fork"
    multiprocessing.start_processes(halves, args=(str(tmp_path),), nprocs=2, start_method=method)
