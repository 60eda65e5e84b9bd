"""A further rank of a run: `python -m patchlight.runs.worker CONFIG.YAML`, as rank 0 starts it."""

from __future__ import annotations

import sys

from omegaconf import DictConfig, OmegaConf

from patchlight.errors import UserError
from patchlight.system.warnings import gc_paused


def main() -> None:
    """Take part in the run of a resolved configuration."""
    with gc_paused():
        from patchlight.runs.run import train

    cfg = OmegaConf.load(sys.argv[1])
    assert isinstance(cfg, DictConfig)
    try:
        train(cfg)
    except UserError as error:
        print(f"patchlight-train: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
