"""Networks that were trained on ImageNet, whose features stand for what people see in images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from patchlight.system.weights import ALEXNET, VGG19, WeightsFile

ImageNetNetwork = Literal["vgg19", "alexnet"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_features(network: ImageNetNetwork) -> nn.Sequential:
    """The convolutional layers of a network of torchvision, one after the other, with its ImageNet weights.

    Raises:
        ValueError: an unknown network, or weights that are not on the disk and cannot be downloaded.
    """
    from torchvision.models import AlexNet_Weights, VGG19_Weights, alexnet, vgg19

    if network == "vgg19":
        model = read_weights("network", network, VGG19, lambda: vgg19(weights=VGG19_Weights.IMAGENET1K_V1))
    elif network == "alexnet":
        model = read_weights("network", network, ALEXNET, lambda: alexnet(weights=AlexNet_Weights.IMAGENET1K_V1))
    else:
        raise ValueError(f"network must be vgg19 or alexnet, got {network!r}")
    features = model.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    return features


def read_weights(key: str, value: str, file: WeightsFile, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network whose weights are read from a file, which is downloaded where it is not there.

    `key` and `value` are the argument that asks for it. The random numbers that it draws before its weights are read
    are nobody else's.

    Raises:
        ValueError: the weights are not there and cannot be downloaded.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return make()
    except OSError as error:
        raise ValueError(f"{key}={value} {file.is_needed(error)}, choose another network, or leave it out") from None


class ImageNetInput(nn.Module):
    """Images B C H W in [-1, 1] as torchvision's networks expect them: B 3 H W, with ImageNet's mean and deviation."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("shift", 2 * mean - 1, persistent=False)
        self.register_buffer("scale", 2 * deviation, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (to_rgb(images) - self.shift) / self.scale


def to_rgb(images: Tensor) -> Tensor:
    """Images, B C H W, as B 3 H W: the first three channels, or of one or two the first three times."""
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
