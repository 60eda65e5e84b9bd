"""A checkpoint as the files that the reference PyTorch CycleGAN/pix2pix code, or that of CUT, writes and reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from patchlight.errors import ConfigError, DataError
from patchlight.interop.reference import NETWORKS, load_reference_weights, reference_state_dict
from patchlight.networks import PatchDiscriminator, PixelDiscriminator, ResNetGenerator, UNetGenerator
from patchlight.system.files import check_free, whole_file

FLAGS = ("no_antialias", "no_antialias_up")
"""CUT's options for halvings and doublings without filters."""

MIN_DOWNS = 5
"""The reference's U-Net has at least this many halvings."""


def reference_files(networks: Mapping[str, nn.Module], folder: Path, overwrite: bool) -> dict[str, Path]:
    """Where each network will be written, `latest_net_G.pth` and so on.

    Raises:
        ConfigError: a network that the reference has no name for or cannot build; or files that are there already.
    """
    if folder.is_file():
        raise ConfigError(f"output={folder} is a file: format=reference writes a folder")
    for name, network in networks.items():
        if name not in NETWORKS:
            raise ConfigError(f"format=reference has no name for {name}: it is for pix2pix, CycleGAN and CUT")
        if isinstance(network, UNetGenerator) and network.num_downs < MIN_DOWNS:
            raise ConfigError(
                f"format=reference has no U-Net with num_downs={network.num_downs}: the reference code's has at least "
                f"{MIN_DOWNS}"
            )
        try:
            reference_state_dict(network)
        except ValueError as error:
            raise ConfigError(f"format=reference cannot hold {name}: {error}") from None
    files = {name: folder / f"latest_net_{NETWORKS[name]}.pth" for name in networks}
    for path in files.values():
        check_free(path, overwrite)
    return files


def write_reference(networks: Mapping[str, nn.Module], files: Mapping[str, Path]) -> None:
    """Write the files, each only once it was read back with the very same weights.

    Raises:
        DataError: a file cannot be written, or did not come back as it was.
    """
    for name, network in networks.items():
        with whole_file(files[name]) as temporary:
            torch.save(reference_state_dict(network), temporary)
            read = torch.load(temporary, map_location="cpu", weights_only=True)
            load_reference_weights(network, read)  # refuses what does not fit
            written = reference_state_dict(network)
            if not all(torch.equal(read[key], value) for key, value in written.items()):
                raise DataError(f"{files[name]} did not come back as it was written: no file was kept")


def command_line_options(networks: Mapping[str, nn.Module], config: Mapping[str, Any]) -> str:
    """The options by which the reference's own commands build these networks."""
    generator = next(network for name, network in networks.items() if name.startswith("generator"))
    # An imported checkpoint may have none.
    discriminator = next((network for name, network in networks.items() if name.startswith("discriminator")), None)
    own: Mapping[str, Any] = config["generator"]
    if _is_cut(config):
        return _options_of_cut(discriminator, config)
    options = [f"--model {'pix2pix' if 'generator' in networks else 'cycle_gan'}"]
    if isinstance(generator, UNetGenerator):
        options.append(f"--netG unet_{2**generator.num_downs}")
    elif isinstance(generator, ResNetGenerator):
        options.append(f"--netG resnet_{own['n_blocks']}blocks")
    options += [f"--ngf {own['ngf']}", f"--norm {str(own['norm']).removeprefix('sync_')}"]
    if not own["dropout"]:
        options.append("--no_dropout")
    if isinstance(discriminator, PixelDiscriminator):
        options.append("--netD pixel")
    elif isinstance(discriminator, PatchDiscriminator):
        options.append(f"--netD n_layers --n_layers_D {discriminator.n_layers}")
    return " ".join([*options, f"--ndf {config['discriminator']['ndf']}"])


def _is_cut(config: Mapping[str, Any]) -> bool:
    return bool(config["_target_"] == "patchlight.methods.CUT")


def _options_of_cut(discriminator: nn.Module | None, config: Mapping[str, Any]) -> str:
    own, projection = config["generator"], config["sampler"]
    options = [
        f"--model cut --netG resnet_{own['n_blocks']}blocks --ngf {own['ngf']}",
        f"--normG {str(own['norm']).removeprefix('sync_')}",
        f"--normD {str(config['discriminator']['norm']).removeprefix('sync_')}",
        f"--netF mlp_sample --netF_nc {projection['nc']}" if "nc" in projection else "--netF sample",
        f"--nce_layers {','.join(str(number) for number in config['nce_layers'])}",
    ]
    if own["dropout"]:
        options.append("--no_dropout false")
    options += [f"--{flag}" for flag, filtered in zip(FLAGS, _filtered(own), strict=True) if not filtered]
    if isinstance(discriminator, PixelDiscriminator):
        options.append("--netD pixel")
    elif isinstance(discriminator, PatchDiscriminator):
        options.append(f"--netD n_layers --n_layers_D {discriminator.n_layers}")
    return " ".join([*options, f"--ndf {config['discriminator']['ndf']}"])


def _filtered(generator: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a generator's halvings are filtered, and whether its doublings are."""
    antialias = generator.get("antialias", "none")
    return antialias in ("down", "both"), antialias in ("up", "both") or generator.get("upsample") == "bilinear"


def remarks(networks: Mapping[str, nn.Module], config: Mapping[str, Any]) -> list[str]:
    """What has to be changed in the reference's code before it reads these files."""
    own: Mapping[str, Any] = config["generator"]
    found = []
    if _is_cut(config):
        if _filtered(own)[0] != config["discriminator"].get("antialias", False):
            found.append("it has one no_antialias for generator and discriminator, and these differ")
    elif any(_filtered(own)):
        found.append("the generator is antialiased, which CUT's code has and the CycleGAN and pix2pix code has not")
    if own.get("padding", "reflect") != "reflect":
        found.append(f"its ResnetGenerator needs padding_type={own['padding']!r}, for which it has no option")
    if own.get("n_blocks", 9) not in (6, 9):
        found.append(f"its define_G has no name for n_blocks={own['n_blocks']}")
    if own.get("num_downs", 8) not in (7, 8):
        found.append(f"its define_G has no name for num_downs={own['num_downs']}")
    norms = {str(config[kind]["norm"]).removeprefix("sync_") for kind in ("generator", "discriminator")}
    if len(norms) > 1 and not _is_cut(config):
        found.append("it has one norm for generators and discriminators, and these have two")
    return found
