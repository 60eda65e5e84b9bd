"""Feature matching: what a discriminator's layers make of a generated image and of the real one should be alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class FeatureMatchingLoss(nn.Module):
    """The mean |D_k(fake) - D_k(real)| over the layers k of a discriminator but its map, summed over the scales.

    It is given the features of both images, for each scale what the layers make on the way to its map, B C h w, with
    the map itself as the last, as a discriminator's `features` returns them. Of S scales with L layers before the map
    each mean is multiplied by 4 / (L S), and by the weight of its map if there are `weights`. Real features are
    constants. The result is a scalar in float32, or in float64
    for float64 features, without a weight.

    Raises:
        ValueError: the features of both are not of the same layers, or there are none beside the maps.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
    equation 4, with the factor 4 of the authors' code.
    """

    def forward(
        self,
        fake: Sequence[Sequence[Tensor]],
        real: Sequence[Sequence[Tensor]],
        weights: Sequence[float] | None = None,
    ) -> Tensor:
        terms = []
        for fake_layers, real_layers, weight in zip(fake, real, weights or [1.0] * len(fake), strict=True):
            pairs = list(zip(fake_layers[:-1], real_layers[:-1], strict=True))
            terms += [4.0 * weight / (len(pairs) * len(fake)) * _l1(f, r.detach()) for f, r in pairs]
        if not terms:
            raise ValueError("features to be matched are those of layers before the map, and there is none")
        return reduce(add, terms)


def _l1(fake: Tensor, real: Tensor) -> Tensor:
    # Half precision would sum thousands of differences.
    return F.l1_loss(fake.float(), real.float()) if fake.dtype.itemsize < 4 else F.l1_loss(fake, real)
