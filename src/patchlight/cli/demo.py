"""`patchlight-demo`: a page on this machine that translates uploads and drawings and shows their patch maps."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from patchlight.cli.command import CommandConfig, Device, run_command
from patchlight.errors import ConfigError
from patchlight.system.warnings import import_lightning


class DemoConfig(CommandConfig):
    """The keys of configs/demo.yaml."""

    examples = {"ckpt": "ckpt=PATH, such as RUN/checkpoints/last.ckpt, or a folder of runs"}

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


def demo(config: DemoConfig) -> None:
    """Serve the page until it is interrupted.

    Raises:
        UserError: Gradio is not installed, there is no usable checkpoint, or the port or device cannot be used.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the page needs Gradio: pip install 'patchlight[demo]'")
    # Here, so that --help does not wait for them.
    import_lightning()
    from patchlight.page.intake import parse_palette
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


main = partial(run_command, "demo", DemoConfig, demo)
