"""`patchlight-demo`: a page on this machine that translates uploads and drawings and shows their patch maps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Literal

import hydra
from omegaconf import DictConfig
from pydantic import Field

from patchlight.cli.command import CommandConfig, Device, stop, typed
from patchlight.config.command_line import check_command_line
from patchlight.config.compose import config_dir
from patchlight.errors import ConfigError, UserError
from patchlight.system.warnings import import_lightning

NAME = "patchlight-demo"

EXAMPLES = {"ckpt": "ckpt=PATH, such as RUN/checkpoints/last.ckpt, or a folder of runs"}
"""What to write for a key that has no default."""


class DemoConfig(CommandConfig):
    """The keys of configs/demo.yaml."""

    ckpt: str
    device: Device
    host: str
    port: int | None = Field(ge=1, le=65535)
    hosts: list[str]
    max_mib: int = Field(ge=1)
    max_stored_mib: int = Field(ge=1)
    max_pixels: int = Field(ge=1)
    palette: Literal["auto", "facades"] | list[str] | None
    open_browser: bool
    trust: bool


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="demo")
def _demo(cfg: DictConfig) -> None:
    try:
        demo(typed(cfg, DemoConfig, EXAMPLES))
    except UserError as error:
        stop(NAME, error)


def demo(config: DemoConfig) -> None:
    """Serve the page until it is interrupted.

    Raises:
        UserError: Gradio is not installed, there is no usable checkpoint, or the port or device cannot be used.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the page needs Gradio: pip install 'patchlight[demo]'")
    # Here, so that --help does not wait for them.
    import_lightning()
    from patchlight.page.palette import parse_palette
    from patchlight.page.serve import Options, serve

    serve(
        Options(
            ckpt=Path(config.ckpt).expanduser(),
            device=config.device,
            host=config.host,
            port=config.port,
            hosts=tuple(config.hosts),
            max_bytes=config.max_mib * 2**20,
            max_stored_bytes=config.max_stored_mib * 2**20,
            max_pixels=config.max_pixels,
            palette=parse_palette(config.palette),
            open_browser=config.open_browser,
            trust=config.trust,
        )
    )


def main() -> None:
    """The command: its arguments are Hydra's overrides, `key=value`."""
    try:
        for cfg in check_command_line(sys.argv[1:], "demo"):
            typed(cfg, DemoConfig, EXAMPLES)
    except UserError as error:
        stop(NAME, error)
    _demo()
