"""Keeping the libraries' advice to themselves."""

from __future__ import annotations

import logging
import warnings

ADVICE = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*is deprecated, use `isinstance.treespec.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*The `srun` command is available on your system but is not used.*",
    # The data module begins where the checkpoint was, without Lightning's knowing.
    ".*You're resuming from a checkpoint that ended before the epoch ended.*",
    # Discriminators may begin later than their schedule.
    ".*Detected call of `lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*",
    # A rank may have no image to evaluate.
    ".*Total length of .* across ranks is zero.*",
)
"""Warnings that say nothing to whoever runs a training."""


def quieten() -> None:
    """Show only what concerns the user; called by every process of a run."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message)
    # What Pillow says of damaged metadata names no file; what keeps a file from being read is told otherwise.
    warnings.filterwarnings("ignore", module=r"PIL\.")
