"""`patchlight-export`: a trained model as a file that needs no Patchlight."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal, cast, get_args

from pydantic import Field

from patchlight.cli.command import CommandConfig, run_command
from patchlight.errors import ConfigError
from patchlight.system.warnings import import_lightning

Format = Literal["onnx", "pt2", "safetensors", "reference", "hub"]
FOLDERS = ("reference", "hub")
"""The formats that are folders."""


class ExportConfig(CommandConfig):
    """The keys of configs/export.yaml."""

    examples = {
        "ckpt": "ckpt=PATH, such as RUN/checkpoints/last.ckpt",
        "output": "output=FILE.onnx, FILE.pt2 or FILE.safetensors",
    }

    ckpt: str
    output: str
    format: Format | None
    direction: Literal["AtoB", "BtoA"] | None
    weights: Literal["ema", "raw"]
    inference_mode: Literal["eval", "paper"] | None
    range: Literal["normalised", "unit", "bytes", "values"]
    networks: Literal["generator", "all"]
    license: str | None
    samples: bool
    opset: int = Field(ge=18, le=23)
    speed: bool
    overwrite: bool
    trust: bool

    def check(self) -> None:
        self.chosen_format()

    def chosen_format(self) -> Format:
        """The format, which the ending of `output` says unless it is given.

        Raises:
            ConfigError: the ending says nothing, or something else than `format`.
        """
        ending = Path(self.output).suffix.removeprefix(".").lower()
        files = [name for name in get_args(Format) if name not in FOLDERS]
        if self.format in FOLDERS:
            if ending in files:
                raise ConfigError(f"output={self.output} should be a folder with format={self.format}")
            return self.format
        if ending not in files or self.format not in (None, ending):
            wanted = f"end in .{self.format}" if self.format else f"end in {', '.join('.' + name for name in files)}"
            raise ConfigError(f"output={self.output} should {wanted}; a folder is for format=reference or hub")
        return cast(Format, ending)


def export(config: ExportConfig) -> None:
    """Write what is asked for, compare it with PyTorch, and print what was found.

    Raises:
        UserError: the file cannot be made, or computes something else than PyTorch; it is not kept then.
    """
    kind = config.chosen_format()
    # Here, so that --help does not wait for them.
    import_lightning()
    from patchlight.exporting.run import ExportOptions, export_graph, export_hub, export_reference, export_tensors

    options = ExportOptions(
        ckpt=Path(config.ckpt).expanduser(), output=Path(config.output).expanduser(), direction=config.direction,
        weights=config.weights, inference_mode=config.inference_mode, value_range=config.range,
        every_network=config.networks == "all", license=config.license, samples=config.samples, opset=config.opset,
        speed=config.speed, overwrite=config.overwrite, trust=config.trust,
    )  # fmt: skip
    match kind:
        case "reference":
            export_reference(options)
        case "hub":
            export_hub(options)
        case "safetensors":
            export_tensors(options)
        case "onnx" | "pt2":
            export_graph(options, kind)


main = partial(run_command, "export", ExportConfig, export)
