"""What the discriminator says of an image, in pictures, figures and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.pixels import Pixels, to_values
from patchlight.pictures import overlay
from patchlight.pictures.patch_map import Scale, red_to_blue

STOPS = 11
"""Colours of the legend; between them the browser blends."""

CPU = torch.device("cpu")


def as_tensor(pixels: Pixels, channels: int) -> Tensor:
    """C H W in [-1, 1]."""
    return to_values([pixels.for_network(channels)], CPU)[0]


@dataclass(frozen=True)
class ScoreSummary:
    """The logits of an image, h w, and what is needed to colour them."""

    logits: Tensor
    scorer: PatchScorer

    @classmethod
    def of(cls, scorer: PatchScorer, image: Tensor, source: Tensor) -> ScoreSummary:
        """The scores of an image that was translated from `source`, both C H W in [-1, 1].

        Raises:
            DataError: the image is too small for a patch map.
        """
        return cls(scorer(image, source).detach().float().cpu(), scorer)

    def over(self, image: Tensor, scale: Scale) -> Image.Image:
        """The heat map on an image of the size of that which was judged."""
        return overlay(image, self.logits, self.scorer.grid, scale)

    @property
    def mean(self) -> float:
        """The mean score."""
        return float(self.logits.mean())

    @property
    def real_share(self) -> float | None:
        """The share of patches taken for real; None where only comparisons mean something."""
        if self.scorer.boundary is None:
            return None
        return float((self.logits > self.scorer.boundary).float().mean())

    @property
    def middle(self) -> str:
        """What white stands for in its heat map."""
        return "mean" if self.scorer.boundary is None else "boundary"

    def words(self) -> str:
        """The scores in one line."""
        height, width = self.logits.shape
        text = f"mean score <b>{figure(self.mean)}</b>"
        if self.real_share is not None:
            text += f" · <b>{self.real_share:.0%}</b> of {height}x{width} patches taken for real"
        return text


def common_scale(*summaries: ScoreSummary) -> Scale:
    """The scale on which all of them can be compared."""
    return Scale.of([summary.logits for summary in summaries], summaries[0].scorer.boundary)


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
