"""The history of generated images from which a discriminator learns."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """A buffer of up to `pool_size` generated images, in memory on the device they came from.

    Once it is full, each image asked about is, with probability 1/2, swapped for a random one of the buffer, which is
    returned in its place. A size of 0 returns every image as it came. Draws come from a generator of the pool's own,
    so that they depend on nothing else that is random in a run.

    Raises:
        ValueError: a negative size.

    Source: Zhu et al. 2017, section 4 "Training details"; Shrivastava et al. 2017, section 2.3.
    """

    def __init__(self, pool_size: int = 50, seed: int = 0) -> None:
        if isinstance(pool_size, bool) or pool_size < 0:
            raise ValueError(f"pool_size must be an integer of at least 0, got {pool_size!r}")
        self.pool_size = pool_size
        self._seed = seed
        self._random = random.Random(seed)
        self._images: list[Tensor] = []
        self._born: list[int] = []
        self._asked = 0

    def __len__(self) -> int:
        return len(self._images)

    @property
    def mean_age(self) -> float:
        """How many images have been asked about since those of the buffer came in, on average; 0 without any."""
        return self._asked - sum(self._born) / len(self._born) if self._born else 0.0

    def query(self, images: Tensor) -> Tensor:
        """Exchange a batch (B, C, H, W) for one of the same shape, detached from what generated it."""
        images = images.detach()
        if self.pool_size == 0:
            return images
        return torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        self._asked += 1
        if len(self._images) < self.pool_size:
            self._images.append(image.clone())
            self._born.append(self._asked)
            return image
        if self._random.uniform(0, 1) <= 0.5:
            return image
        position = self._random.randint(0, self.pool_size - 1)
        old, self._images[position] = self._images[position], image.clone()
        self._born[position] = self._asked
        return old.to(image.device)

    def seed_rank(self, rank: int) -> None:
        """Draw as the pool of this rank: that of rank 0 is the one of a single process."""
        self._random = random.Random(self._seed if rank == 0 else f"{self._seed}, rank {rank}")

    def state_dict(self) -> dict[str, Any]:
        """Images, their ages and random state, in types that `torch.load(weights_only=True)` accepts."""
        version, numbers, gauss = self._random.getstate()
        return {
            "images": list(self._images),
            "random": [version, list(numbers), gauss],
            "born": list(self._born),
            "asked": self._asked,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        version, numbers, gauss = state["random"]
        self._random.setstate((version, tuple(numbers), gauss))
        self._images = list(state["images"])
        # A checkpoint may be from before ages were counted.
        self._born = list(state.get("born", [0] * len(self._images)))
        self._asked = state.get("asked", 0)
