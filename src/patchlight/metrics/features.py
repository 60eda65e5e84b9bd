"""Networks whose features stand for images where sets of images are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.losses.pretrained import IMAGENET_MEAN, IMAGENET_STD
from patchlight.system.weights import ALEXNET, INCEPTION, WeightsFile, sha256_of

KEY = "callbacks.quality.feature"
INCEPTION_SHA256 = "6726825d"
"""How the hash of the published Inception weights begins."""


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that turns 8-bit RGB images, B 3 H W, into features, B D, with what tells it from others.

    `frechet` and `kernel` are the names of the distances on its features: `fid` and `kid` belong to the Inception
    network of their papers alone.
    """

    name: str
    module: nn.Module
    sha256: str
    what: str
    frechet: str
    kernel: str

    def try_size(self, image_size: tuple[int, int]) -> None:
        """See whether the network takes images of this height and width in pixels.

        Raises:
            ConfigError: it does not, or what it makes of them is not B D.
        """
        images = torch.zeros(2, 3, *image_size, dtype=torch.uint8)
        try:
            shape = tuple(self(images).shape)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"{KEY}: {self.name} cannot take images of {image_size[0]} x {image_size[1]} px ({reason}): take "
                f"larger images, another network, or null"
            ) from None
        if len(shape) != 2 or shape[0] != 2:
            raise ConfigError(f"{KEY}: {self.name} makes {shape} of 2 images, which should be 2 rows of features")

    def __call__(self, images: Tensor) -> Tensor:
        """The features, B D, of 8-bit images B 3 H W."""
        with torch.no_grad():
            features: Tensor = self.module(images)
        return features


def feature_network(feature: str | nn.Module) -> FeatureNetwork:
    """The feature network of a name, `inception` or `alexnet`, or of any module that maps images to B D features.

    Modules of one's own get float images, B 3 H W in [0, 1].

    Raises:
        ConfigError: another name, or weights that are not on the disk and cannot be downloaded.
    """
    if isinstance(feature, nn.Module):
        return _own(feature)
    if feature == "inception":
        return _inception()
    if feature == "alexnet":
        return _alexnet()
    raise ConfigError(f"{KEY}={feature} should be inception, alexnet, null, or a module by its _target_")


class _FromUint8(nn.Module):
    """A module for float images in [0, 1], given 8-bit ones."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.module(images / 255)
        return features


def _alexnet() -> FeatureNetwork:
    from torchvision.models import AlexNet_Weights, alexnet
    from torchvision.transforms import Normalize

    network = _load(ALEXNET, lambda: alexnet(weights=AlexNet_Weights.IMAGENET1K_V1))
    layers = list(network.get_submodule("features").children())[:-1]
    pooled = nn.Sequential(Normalize(IMAGENET_MEAN, IMAGENET_STD), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FeatureNetwork(
        name="alexnet",
        module=_FromUint8(pooled).eval().requires_grad_(False),
        sha256=sha256_of(ALEXNET.path()),
        what="AlexNet's last convolution after its ReLU, mean over all places, 256 features, images not resized",
        frechet="frechet_alexnet",
        kernel="kernel_alexnet",
    )


def _inception() -> FeatureNetwork:
    # torchmetrics' port, which ends in the features of the paper's own network.
    from torchmetrics.image.fid import NoTrainInceptionV3

    path = INCEPTION.path()
    if path.is_file() and not sha256_of(path).startswith(INCEPTION_SHA256):
        raise ConfigError(f"{path} is damaged, or another file than {INCEPTION.url}: remove it and get it again")
    network = _load(
        INCEPTION,
        lambda: NoTrainInceptionV3(
            "inception-v3-compat",
            ["2048"],
            feature_extractor_weights_path=str(path) if path.is_file() else None,
            antialias=False,
        ),
    )
    return FeatureNetwork(
        name="inception",
        module=network.eval().requires_grad_(False),
        sha256=sha256_of(path),
        what="Inception of the FID paper, last pooling, 2048 features, images resized to 299 x 299 as TensorFlow did",
        frechet="fid",
        kernel="kid",
    )


def _own(module: nn.Module) -> FeatureNetwork:
    name = type(module).__name__
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return FeatureNetwork(
        name=name,
        module=_FromUint8(module).eval().requires_grad_(False),
        sha256=digest.hexdigest(),
        what=f"{type(module).__module__}.{name}, images in [0, 1], not resized",
        frechet=f"frechet_{name.lower()}",
        kernel=f"kernel_{name.lower()}",
    )


def unavailable(key: str, file: WeightsFile, reason: object, instead: str) -> ConfigError:
    """The message for weights that are not there and could not be downloaded."""
    return ConfigError(f"{key} {file.is_needed(reason)}, or {instead}")


def _load(file: WeightsFile, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network, whose random numbers before its weights are read are nobody else's."""
    try:
        with torch.random.fork_rng(devices=[]):
            return make()
    except OSError as error:
        raise unavailable(KEY, file, error, f"set {KEY}=null") from None
