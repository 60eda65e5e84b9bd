from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchmetrics.image.fid import NoTrainInceptionV3
from torchvision.models import AlexNet_Weights, alexnet

from patchlight.errors import ConfigError
from patchlight.metrics import feature_network
from patchlight.system.weights import ALEXNET, INCEPTION, sha256_of


class Colours(nn.Module):
    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(3)[:n])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) @ self.mix.T


def uint8(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("alexnet")
def test_alexnet_is_torchvisions() -> None:
    network = feature_network("alexnet")
    images = uint8(2, 3, 64, 48)
    prepared = (images / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    layers = alexnet(weights=AlexNet_Weights.IMAGENET1K_V1).eval().features
    expected = layers[:12](prepared).mean(dim=(2, 3))
    assert torch.allclose(network(images), expected, atol=1e-6)
    assert (network.frechet, network.kernel) == ("frechet_alexnet", "kernel_alexnet")
    assert network.sha256 == sha256_of(ALEXNET.path())


def test_own_module_gets_floats_and_is_named_by_its_class() -> None:
    network = feature_network(Colours())
    images = uint8(2, 3, 8, 8)
    assert torch.allclose(network(images), (images / 255).mean(dim=(2, 3)))
    assert (network.frechet, network.kernel) == ("frechet_colours", "kernel_colours")
    assert network.sha256 == feature_network(Colours()).sha256
    assert network.sha256 != feature_network(Colours(2)).sha256


def test_inception_without_weights_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    expected = (
        r"callbacks.quality.feature needs the Inception network of FID.*get https://github.com/.*\.pth and put it"
    )
    with pytest.raises(ConfigError, match=expected):
        feature_network("inception")


def test_another_file_in_inceptions_place_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    INCEPTION.path().parent.mkdir(parents=True)
    INCEPTION.path().write_bytes(b"cos\nsystem\n(S'echo no'\ntR.")
    with pytest.raises(ConfigError, match=r"is damaged, or another file than https://"):
        feature_network("inception")


def test_inception_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights in the published file's place, as the real ones are not here."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *a, **k: {})
    monkeypatch.setattr(NoTrainInceptionV3, "load_state_dict", lambda self, state: None)
    torch.manual_seed(3)
    expected = NoTrainInceptionV3("inception-v3-compat", ["2048"], antialias=False)
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    INCEPTION.path().parent.mkdir(parents=True)
    torch.save(expected.state_dict(), INCEPTION.path())
    monkeypatch.setattr("patchlight.metrics.features.INCEPTION_SHA256", sha256_of(INCEPTION.path())[:8])
    network = feature_network("inception")
    images = uint8(1, 3, 32, 32)
    assert (network.frechet, network.kernel) == ("fid", "kid")
    assert torch.equal(network(images), expected(images))


def test_names_and_sizes_that_do_not_suit() -> None:
    with pytest.raises(ConfigError, match=r"callbacks.quality.feature=resnet should be inception, alexnet, null"):
        feature_network("resnet")
    with pytest.raises(ConfigError, match=r"Sequential cannot take images of 2 x 2 px"):
        feature_network(nn.Sequential(nn.Conv2d(3, 1, 5))).try_size((2, 2))
    with pytest.raises(ConfigError, match=r"makes \(2, 1, 4, 4\) of 2 images"):
        feature_network(nn.Sequential(nn.Conv2d(3, 1, 5))).try_size((8, 8))
