"""The perceptual loss of pix2pixHD: the distance of two images in the features of a network trained to classify."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

VGG19_LAYERS = (1, 6, 11, 20, 29)
"""The first ReLU of each of VGG19's five stages, as positions in its `features`."""

VGG19_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class PerceptualLoss(nn.Module):
    """The sum of weights[i] mean |F_i(fake) - F_i(real)| over some layers F_i of a fixed network.

    `features` are its layers one after the other, the `features` of torchvision's VGG19 for the defaults; `layers` are
    the positions in it of which the outputs are compared, ascending, of ReLUs as a rule. Images are B C H W and are fed
    as they are. The parameters are frozen. The real image is a constant; the result is a scalar, without a weight.

    Raises:
        ValueError: positions that are not ascending or not there, or not one weight for each of them.

    Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", section 3.2;
    layers and weights as in Wang et al. 2018, appendix A.1, and the authors' code.
    """

    def __init__(
        self,
        features: nn.Sequential,
        layers: Sequence[int] = VGG19_LAYERS,
        weights: Sequence[float] = VGG19_WEIGHTS,
    ) -> None:
        super().__init__()
        if not layers or sorted(set(layers)) != list(layers) or not 0 <= layers[0] <= layers[-1] < len(features):
            raise ValueError(f"layers must be ascending positions from 0 to {len(features) - 1}, got {list(layers)}")
        if len(weights) != len(layers):
            raise ValueError(f"weights must be {len(layers)}, one for each of the layers, got {list(weights)}")
        self.features = features[: layers[-1] + 1].requires_grad_(False)
        self.layers = tuple(layers)
        self.weights = tuple(weights)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        with torch.no_grad():
            expected = self._outputs(real)
        return reduce(
            add, [w * F.l1_loss(f, r) for w, f, r in zip(self.weights, self._outputs(fake), expected, strict=True)]
        )

    def _outputs(self, image: Tensor) -> list[Tensor]:
        """What each of the layers makes of an image."""
        found = []
        for position, layer in enumerate(self.features):
            image = layer(image)
            if position in self.layers:
                found.append(image)
        return found
