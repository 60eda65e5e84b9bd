"""A metric of pairs: how far the edges of an image are from those of its target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class EdgeError(Metric):
    """Mean absolute difference of the gradients, by neighbouring pixels, of images B C H W in [0, 1]."""

    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Sums, so that ranks add theirs up.
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        for dim in (-2, -1):
            difference = (preds.diff(dim=dim) - target.diff(dim=dim)).abs()
            self.total += difference.sum(dtype=torch.float64)
            self.count += difference.numel()

    def compute(self) -> Tensor:
        return self.total / self.count
