"""Keeping libraries quiet: their advice to themselves, and the garbage collector away while they are imported."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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
    # Inside Lightning, with newer releases of PyTorch.
    ".*all_gather is deprecated, use torch.distributed.*",
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


@contextmanager
def gc_paused() -> Iterator[None]:
    """Import PyTorch and what rests on it without looking for garbage on the way, which takes a fifth of the time.

    Whatever has been imported stays for as long as the process, so the collector leaves it out from then on. Where
    PyTorch is there already nothing large is left to be imported, and the objects of earlier work may be garbage.
    """
    if not gc.isenabled() or "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
