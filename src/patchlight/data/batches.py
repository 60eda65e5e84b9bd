"""Samples put together to batches, as they leave the workers and as the step sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from patchlight.data.image_io import to_float
from patchlight.errors import DataError

Sample = dict[str, Tensor | str]
"""`A`, `B` (C H W, 8 bits), `A_path`, `B_path`."""

Batch = dict[str, Any]
"""`A`, `B` (B C H W), and lists of `A_path`, `B_path`."""

DOMAINS = ("A", "B")


def normalise(batch: Batch) -> Batch:
    """A batch of a loader as the step sees it: its images of 8 bits become float32 in [-1, 1].

    The trainer's batches have been through this. Who reads a loader by hand calls it for each of them. What is
    floating point already stays as it is.
    """
    images = {domain: batch[domain] for domain in DOMAINS if domain in batch}
    return batch | {d: to_float(image) for d, image in images.items() if image.dtype == torch.uint8}


def collate(samples: list[Sample]) -> Batch:
    """Samples stacked to a batch: `A`, `B` as B C H W, the paths as lists.

    Raises:
        DataError: images of different size, which cannot be stacked.
    """
    for domain in DOMAINS:
        first = samples[0]
        for other in samples[1:]:
            if _pixels(first, domain) != _pixels(other, domain):
                raise DataError(
                    f"{first[f'{domain}_path']} ({_pixels(first, domain)}) and {other[f'{domain}_path']} "
                    f"({_pixels(other, domain)}) differ in size after preprocessing, so they cannot be in one batch: "
                    f"use data.preprocess=resize_and_crop, or data.batch_size=1 and data.eval_batch_size=1"
                )
    batch: Batch = default_collate(samples)
    return batch


def _pixels(sample: Sample, domain: str) -> str:
    image = sample[domain]
    assert isinstance(image, Tensor)
    return f"{image.shape[2]}x{image.shape[1]}"
