"""The contrastive loss between patches of two images."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Negatives = Literal["image", "minibatch"]

OWN_KEY = -10.0
"""The similarity, before the temperature, that stands in place of a query's own key among the negatives."""


class PatchNCELoss(nn.Module):
    """Each query is to be more similar to the key of its own place than to the keys of other places.

    `query` and `key` are B P C, vectors of unit length of the same P places, and similarity is their product. For each
    query it is the cross-entropy -log exp(q k / t) / (exp(q k / t) + sum exp(q k' / t)) with the temperature t, where
    the negatives k' are the other keys of its image, or of all images of the batch for `minibatch`. The mean over all
    queries is a scalar in float32, or in float64 for float64 vectors. No gradient goes to the keys.

    Raises:
        ValueError: a temperature that is not positive, or unknown negatives.

    Source: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", equations 1 and 4.
    """

    def __init__(self, temperature: float = 0.07, negatives: Negatives = "image") -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if negatives not in get_args(Negatives):
            raise ValueError(f"negatives must be one of {', '.join(get_args(Negatives))}, got {negatives!r}")
        self.temperature = temperature
        self.negatives = negatives

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        dtype = torch.promote_types(query.dtype, torch.float32)
        query, key = query.to(dtype), key.detach().to(dtype)
        if self.negatives == "minibatch":
            query, key = query.flatten(0, 1)[None], key.flatten(0, 1)[None]
        with torch.autocast(query.device.type, enabled=False):
            pairs = query @ key.mT
            own = torch.eye(pairs.shape[-1], dtype=torch.bool, device=pairs.device)
            similarities = torch.cat(
                [pairs.diagonal(dim1=1, dim2=2)[..., None], pairs.masked_fill(own, OWN_KEY)], dim=2
            )
            logits = (similarities / self.temperature).flatten(0, 1)
            return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))
