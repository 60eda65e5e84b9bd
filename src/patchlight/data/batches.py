"""Samples and batches of them: how they are named, stacked, and turned into what the step sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from patchlight.data.images import to_float
from patchlight.data.labels import LabelMaps
from patchlight.data.masks import VALID
from patchlight.data.sources import Condition
from patchlight.errors import DataError

Sample = dict[str, Tensor | Condition]
"""`A`, `B` (C H W, 8 bits or in [-1, 1]), `A_path`, `B_path`, of a set with masks `valid` (1 H W, 0 or 1), and what
else belongs to the image that becomes `A`, by name."""

Batch = dict[str, Any]
"""`A`, `B` (B C H W), lists of `A_path`, `B_path`, and of a set with masks `valid` (B 1 H W)."""

DOMAINS = ("A", "B")


def normalise(batch: Batch, labels: LabelMaps | None = None) -> Batch:
    """A batch of a loader as the step sees it: its images of 8 bits become float32 in [-1, 1].

    With `labels`, `A` is label maps, of which each class becomes a channel of 0 and 1. Masks become floating point. The
    trainer's batches have been through this. Who reads a loader by hand calls it for each of them. What is floating
    point already stays as it is.
    """
    if labels is not None and batch["A"].dtype == torch.uint8:
        batch = batch | {"A": labels.to_channels(batch["A"])}
    images = {domain: batch[domain] for domain in DOMAINS if domain in batch}
    mask = {VALID: batch[VALID].float()} if VALID in batch else {}
    return batch | {d: to_float(image) for d, image in images.items() if image.dtype == torch.uint8} | mask


def collate(samples: list[Sample]) -> Batch:
    """Samples stacked to a batch: `A`, `B` as B C H W, the paths as lists.

    Raises:
        DataError: images of different size, which cannot be stacked.
    """
    for domain in DOMAINS:
        first = samples[0]
        size = _pixels(first, domain)
        for other in samples[1:]:
            if _pixels(other, domain) != size:
                raise DataError(
                    f"{first[f'{domain}_path']} ({size}) and {other[f'{domain}_path']} ({_pixels(other, domain)}) "
                    f"differ in size after preprocessing, so they cannot be in one batch: use "
                    f"data.preprocess=resize_and_crop, or data.batch_size=1 and data.eval_batch_size=1"
                )
    batch: Batch = default_collate(samples)
    return batch


def _pixels(sample: Sample, domain: str) -> str:
    image = sample[domain]
    assert isinstance(image, Tensor)
    return f"{image.shape[2]}x{image.shape[1]}"
