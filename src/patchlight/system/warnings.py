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

LIGHTNING = ("lightning.pytorch", "lightning.fabric")
"""Lightning's loggers."""


def filter_warnings() -> None:
    """Show only what concerns the user, and what `hydra.verbose` or `hydra.job_logging` ask for.

    Called by every process of a run, once Lightning is imported, which sets the levels of its loggers anew.
    """
    levels = _levels_asked_for()
    for name in LIGHTNING:
        logging.getLogger(name).setLevel(levels.get(name, levels.get("lightning", logging.WARNING)))
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


def _levels_asked_for() -> dict[str, str]:
    """The levels that the command line, or a file of it, gives loggers by their names."""
    from hydra.core.hydra_config import HydraConfig  # here, because this module comes before what is large

    if not HydraConfig.initialized():  # a rank that another one has started, or a script
        return {}
    hydra = HydraConfig.get()
    loggers = hydra.job_logging.get("loggers") or {}
    levels = {name: node.level for name, node in loggers.items() if "level" in node}
    verbose = hydra.verbose
    if isinstance(verbose, bool):
        return levels | (dict.fromkeys(LIGHTNING, "DEBUG") if verbose else {})
    return levels | dict.fromkeys([verbose] if isinstance(verbose, str) else verbose, "DEBUG")


def import_lightning() -> None:
    """Import Lightning and PyTorch, for commands that import more of this package later."""
    with gc_paused():
        import lightning.pytorch  # noqa: F401
