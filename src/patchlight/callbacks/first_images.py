"""The first images of a validation, of all ranks, which are the same every time."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Trainer
from torch import Tensor

from patchlight.methods.rank_state import gather


class FirstImages:
    """Keeps what belongs to the first `n` images of a validation, tensors by name, on the CPU."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._kept: dict[int, dict[str, Tensor]] = {}

    def clear(self) -> None:
        """Begin another validation."""
        self._kept = {}

    def wants(self, trainer: Trainer, batch_idx: int, batch_size: int) -> bool:
        """Whether some image of this batch belongs to the first."""
        return self._number(trainer, batch_idx * batch_size) < self.n

    def add(self, trainer: Trainer, batch_idx: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep what is wanted of a batch: tensors of one row per image."""
        size = len(next(iter(tensors.values())))
        for i in range(size):
            number = self._number(trainer, batch_idx * size + i)
            if number < self.n:
                self._kept[number] = {name: values[i].float().cpu() for name, values in tensors.items()}

    def gathered(self) -> list[dict[str, Tensor]]:
        """Those of all ranks in order, on the first rank; called by all of them."""
        together = {number: tensors for part in gather(self._kept) for number, tensors in part.items()}
        self._kept = {}
        return [together[number] for number in sorted(together)]

    @staticmethod
    def _number(trainer: Trainer, index: int) -> int:
        """The place in the split of this rank's image number `index`: ranks take the images in turn."""
        return index * trainer.world_size + trainer.global_rank
