"""Which of several processes this is."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_only


def is_first() -> bool:
    """Whether this process is the one that writes and prints: rank 0, known before the ranks have met."""
    return getattr(rank_zero_only, "rank", 0) == 0
