"""Which of several processes this is."""

from __future__ import annotations

import os

from lightning.pytorch.utilities import rank_zero_only

LAUNCHED = "PATCHLIGHT_LAUNCHED"
"""Set in the environment of a rank that another rank has launched."""


def is_first() -> bool:
    """Whether this process is the one that writes and prints: rank 0, known before the ranks have met."""
    return getattr(rank_zero_only, "rank", 0) == 0


def was_launched() -> bool:
    """Whether another rank of the same run has started this process, and waits for it."""
    return LAUNCHED in os.environ
