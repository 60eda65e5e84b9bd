"""Figures that tell whether generator and discriminator still learn from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from patchlight.networks import Maps, map_suffixes

SATURATED = 0.99
"""Beyond this share of its range a generator's tanh hardly passes gradients."""

THUMBNAIL = 8
"""Pixels: images are compared at this size where their variety is measured."""


def discriminator_figures(maps_real: Maps, maps_fake: Maps, boundary: float | None) -> dict[str, Tensor]:
    """Accuracy over the patches of real and of generated images with its mean, and the mean logits of both.

    Of several scales each counts the same, however many patches it has, and has an accuracy of its own, `d_acc_scale1`
    and so on. Without a boundary the middle between the two mean logits of a map stands for it.
    """
    each = [_figures_of_map(real, fake, boundary) for real, fake in zip(maps_real, maps_fake, strict=True)]
    figures = {name: torch.stack([found[name] for found in each]).mean() for name in each[0]}
    own = {f"d_acc{suffix}": found["d_acc"] for suffix, found in zip(map_suffixes(len(each)), each, strict=True)}
    return figures | own


def _figures_of_map(logits_real: Tensor, logits_fake: Tensor, boundary: float | None) -> dict[str, Tensor]:
    real, fake = logits_real.float(), logits_fake.float()
    mean_real, mean_fake = real.mean(), fake.mean()
    threshold = (mean_real + mean_fake) / 2 if boundary is None else mean_real.new_tensor(boundary)
    right_real, right_fake = (real > threshold).float().mean(), (fake < threshold).float().mean()
    return {
        "d_acc_real": right_real,
        "d_acc_fake": right_fake,
        "d_logit_real": mean_real,
        "d_logit_fake": mean_fake,
        "d_acc": (right_real + right_fake) / 2,
    }


def gradient_figures(
    norms: Mapping[str, Tensor], generators: Sequence[str], discriminators: Sequence[str]
) -> dict[str, Tensor]:
    """The norm of each network's gradient, and the generators' over the discriminators' as one number."""
    figures = {f"grad_{name}": norm.float() for name, norm in norms.items()}
    if all(name in norms for name in (*generators, *discriminators)):
        g, d = (torch.stack([norms[n].float() for n in names]).norm() for names in (generators, discriminators))
        figures["grad_ratio"] = g / d.clamp_min(torch.finfo(d.dtype).tiny)
    return figures


def saturation(fake: Tensor, real: Tensor) -> Tensor:
    """By how much the share of values at the ends of the range is larger in generated than in real images.

    Images are B C H W in [-1, 1]. White paper and black frames of the real ones are not held against the generator.
    """
    share_fake, share_real = ((images.abs() > SATURATED).float().mean() for images in (fake, real))
    return (share_fake - share_real).clamp_min(0)


def thumbnails(images: Tensor) -> Tensor:
    """Images B C H W as B C 8 8, in float32."""
    return adaptive_avg_pool2d(images.detach().float(), THUMBNAIL)


def variety(fake: Tensor, real: Tensor) -> Tensor:
    """How much generated thumbnails, N C 8 8, differ from one another, as a share of how much real ones do.

    The standard deviation over the images, mean over places and colours. A generator that has collapsed makes the same
    of everything, and this is near 0.
    """
    spread_fake, spread_real = (x.std(dim=0, correction=0).mean() for x in (fake, real))
    return spread_fake / spread_real.clamp_min(torch.finfo(spread_real.dtype).eps)
