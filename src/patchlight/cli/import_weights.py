"""`patchlight-import`: weights of the reference PyTorch code as a checkpoint."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from patchlight.cli.command import CommandConfig, run_command
from patchlight.system.warnings import import_lightning


class ImportConfig(CommandConfig):
    """The keys of configs/import.yaml."""

    examples = {
        "input": "input=FILE.pth, or the folder with latest_net_G.pth",
        "output": "output=FILE.ckpt",
    }

    input: str
    output: str
    epoch: str | int
    direction: Literal["AtoB", "BtoA"]
    method: Literal["pix2pix", "cyclegan", "pix2pixhd", "cut"] | None
    gan_mode: Literal["lsgan", "vanilla", "wgangp", "hinge", "nonsaturating", "relativistic"] | None
    dropout: bool | None
    padding: Literal["reflect", "replicate", "zero"] | None
    n_classes: int | None = Field(ge=2, le=256)
    instances: bool
    overwrite: bool


def import_weights(config: ImportConfig) -> None:
    """Write the checkpoint, and print what was found, what was assumed and how to go on.

    Raises:
        UserError: the files cannot be used, or the checkpoint cannot be written.
    """
    # Here, so that --help does not wait for them.
    import_lightning()
    import torch
    from rich.console import Console

    from patchlight.interop.assemble import assemble, find_files, left_out
    from patchlight.interop.settings import Assumptions
    from patchlight.system.files import check_free, whole_file

    console = Console(highlight=False, soft_wrap=True, markup=False)
    source, output = Path(config.input).expanduser(), Path(config.output).expanduser()
    check_free(output, config.overwrite)
    files = find_files(source, str(config.epoch))
    assumed = Assumptions(
        config.method, config.direction, config.gan_mode, config.dropout, config.padding, config.n_classes,
        config.instances,
    )  # fmt: skip
    imported = assemble(files, assumed)
    with whole_file(output) as temporary:
        torch.save(imported.checkpoint, temporary)
    for role, name in imported.roles.items():
        network = imported.architectures[name]
        settings = ", ".join(f"{key}={value}" for key, value in network.settings.items())
        console.print(
            f"{files[name].name} -> {role}: {network.kind}, {network.in_channels} to {network.out_channels} channels, "
            f"{settings}"
        )
    for role in imported.untrained:
        console.print(f"note: no file has {role}, which begins with initial weights")
    for note in [*imported.notes, *left_out(source, str(config.epoch))]:
        console.print(f"note: {note}")
    console.print(str(output))
    command = ["patchlight-train", *imported.overrides, f"init_from={output}"]
    console.print(f"to go on with training: {shlex.join(command)} data.root=FOLDER")


main = partial(run_command, "import", ImportConfig, import_weights)
