"""`patchlight-train`: train a model, or with `-m` a sweep of models."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from patchlight.config import check_command_line, check_folders, config_dir, register_resolvers
from patchlight.errors import UserError
from patchlight.run_id import choose_run_id


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _train(cfg: DictConfig) -> None:
    from patchlight.run import train

    try:
        train(cfg)
    except UserError as error:
        _stop(error)


def main() -> None:
    """The command: its arguments are Hydra's overrides, `key=value`."""
    choose_run_id()
    register_resolvers()
    try:
        configs = check_command_line(sys.argv[1:], "train")
        if configs:
            check_folders(sys.argv[1:], configs[0].paths.log_dir)
            from patchlight.schema import validate

            for cfg in configs:
                validate(cfg)
    except UserError as error:
        _stop(error)
    _train()


def _stop(error: UserError) -> None:
    """One message and exit status 1, no traceback."""
    print(f"patchlight-train: {error}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    # As a module with a name, whose functions launchers can hand to other processes.
    from patchlight.train import main as _main

    _main()
