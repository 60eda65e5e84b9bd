"""What callbacks may look at of a step that has just been done."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Observation:
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
