"""A further rank of a run: `python -m patchlight.runs.worker CONFIG.YAML`, as rank 0 starts it."""

from __future__ import annotations

import sys

from omegaconf import DictConfig, OmegaConf

from patchlight.errors import one_message
from patchlight.system.job_record import search_folders
from patchlight.system.warnings import gc_paused


def main() -> None:
    """Take part in the run of a resolved configuration."""
    search_folders()
    with gc_paused():
        from patchlight.callbacks.signals import STOPPED
        from patchlight.runs.run import train_checked

    cfg = OmegaConf.load(sys.argv[1])
    assert isinstance(cfg, DictConfig)
    with one_message("patchlight-train"):
        try:
            train_checked(cfg)
        except SystemExit as end:
            # The run is saved: its exit status is for rank 0 to give, which would take another here for a crash.
            if end.code != STOPPED:
                raise


if __name__ == "__main__":
    main()
