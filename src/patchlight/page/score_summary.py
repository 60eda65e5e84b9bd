"""What the discriminator says of an image, in pictures, figures and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.pixels import Pixels, to_values
from patchlight.networks import Maps
from patchlight.pictures import Scale, overlay, red_to_blue

STOPS = 11
"""Colours of the legend; between them the browser blends."""

GAP = 8
"""Pixels between the heat maps of two scales."""

CPU = torch.device("cpu")


def as_tensor(pixels: Pixels, channels: int) -> Tensor:
    """C H W in [-1, 1]."""
    return to_values([pixels.for_network(channels)], CPU)[0]


@dataclass(frozen=True)
class ScoreSummary:
    """The patch maps of an image, h w logits for each scale of the discriminator, and what is needed to colour them."""

    maps: Maps
    scorer: PatchScorer

    @classmethod
    def of(cls, scorer: PatchScorer, image: Tensor, source: Tensor) -> ScoreSummary:
        """The scores of an image that was translated from `source`, both C H W in [-1, 1].

        Raises:
            DataError: the image is too small for a patch map.
        """
        return cls(tuple(logits.detach().float().cpu() for logits in scorer(image, source)), scorer)

    def over(self, image: Tensor, scale: Scale) -> Image.Image:
        """The heat maps on an image of the size of that which was judged, side by side, the finest first."""
        grids = self.scorer.grids(*image.shape[-2:])
        pictures = [overlay(image, logits, grid, scale) for logits, grid in zip(self.maps, grids, strict=True)]
        width = pictures[0].width + GAP
        combined = Image.new("RGB", (width * len(pictures) - GAP, pictures[0].height), "white")
        for number, picture in enumerate(pictures):
            combined.paste(picture, (number * width, 0))
        return combined

    @property
    def mean(self) -> float:
        """The mean score; each scale counts the same."""
        return sum(float(logits.mean()) for logits in self.maps) / len(self.maps)

    @property
    def real_share(self) -> float | None:
        """The share of patches taken for real; None where only comparisons mean something."""
        threshold = self.scorer.boundary
        if threshold is None:
            return None
        return sum(float((logits > threshold).float().mean()) for logits in self.maps) / len(self.maps)

    @property
    def middle(self) -> str:
        """What white stands for in its heat map."""
        return "mean" if self.scorer.boundary is None else "boundary"

    def words(self) -> str:
        """The scores in one line."""
        sizes = " and ".join("x".join(map(str, logits.shape)) for logits in self.maps)
        text = f"mean score <b>{figure(self.mean)}</b>"
        if self.real_share is not None:
            text += f" · <b>{self.real_share:.0%}</b> of {sizes} patches taken for real"
        return text


def common_scale(*summaries: ScoreSummary) -> Scale:
    """The scale on which all of them can be compared."""
    return Scale.of([logits for summary in summaries for logits in summary.maps], summaries[0].scorer.boundary)


def legend(scale: Scale, middle: str) -> str:
    """HTML: the colours of a patch map with the scores that they stand for; `middle` says what white is."""
    stops = red_to_blue(np.linspace(0, 1, STOPS))
    colours = ", ".join("#" + bytes((stop * 255).round().astype(np.uint8)).hex() for stop in stops)
    ends = [figure(scale.boundary + side * scale.reach) for side in (-1, 0, 1)]
    return (
        f'<div class="pl-legend"><div class="pl-bar" style="background: linear-gradient(90deg, {colours})"></div>'
        f'<div class="pl-ends"><span>taken for fake<br><b>{ends[0]}</b></span><span>{middle}<br><b>{ends[1]}</b></span>'
        f"<span>taken for real<br><b>{ends[2]}</b></span></div></div>"
    )


def figure(value: float) -> str:
    """A number with two digits and a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
