"""What callbacks may look at of a step that has just been done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class StepRecord:
    """The last step's images, patch maps and gradient norms, detached and on their device.

    A step that has none of something, such as the gradients of a generator that was not to move, leaves the last. Of
    several accumulated batches it is the last one's.
    """

    images: dict[str, Tensor] = field(default_factory=dict)
    """`real_B`, `fake_B` and so on, B C H W in [-1, 1], as the generators made them in training."""
    logits: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """The patch maps, B 1 h w, of real and fake, by discriminator."""
    gradient_norms: dict[str, Tensor] = field(default_factory=dict)
    """The norm of each network's gradient before clipping, by network."""

    def state_dict(self, *, images: bool) -> dict[str, Any]:
        """What outlasts the step, for a checkpoint; images only where the next batch may make none of its own."""
        return {
            "images": dict(self.images) if images else {},
            "logits": {name: list(maps) for name, maps in self.logits.items()},
            "gradient_norms": dict(self.gradient_norms),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], device: torch.device) -> StepRecord:
        """What `state_dict` gave, on a device."""
        return cls(
            images={name: image.to(device) for name, image in state["images"].items()},
            logits={name: (real.to(device), fake.to(device)) for name, (real, fake) in state["logits"].items()},
            gradient_norms={name: norm.to(device) for name, norm in state["gradient_norms"].items()},
        )
