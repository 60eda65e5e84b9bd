"""The configuration that the networks of some files belong to, as overrides of the project's own defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from patchlight.config.compose import compose_config
from patchlight.errors import DataError
from patchlight.interop.architecture import Architecture
from patchlight.methods import CUT, CycleGAN, NetworkSpec, Pix2Pix, Pix2PixHD

Method = Literal["pix2pix", "cyclegan", "pix2pixhd", "cut"]

TABLES: Mapping[Method, Mapping[str, NetworkSpec]] = {
    "pix2pix": Pix2Pix.networks, "cyclegan": CycleGAN.networks, "pix2pixhd": Pix2PixHD.networks,
    "cut": CUT.networks,
}  # fmt: skip

OF_PIX2PIXHD = ("global", "local", "multiscale")
"""Kinds of networks that other methods' reference code does not have."""

PATCHES = {1: "patch16", 2: "patch34", 3: "patch70", 4: "patch142", 5: "patch286"}
"""The choices of model/discriminator by `n_layers`."""


@dataclass(frozen=True)
class Assumptions:
    """What tensors do not tell; None is the default of the method."""

    method: Method | None
    direction: str
    gan_mode: str | None
    dropout: bool | None
    padding: str | None
    n_classes: int | None = None
    instances: bool = False


def choose_method(found: Mapping[str, Architecture], wanted: Method | None) -> Method:
    """The method whose networks these are: by their names, else by what the discriminator sees, else by the generator.

    Raises:
        DataError: the networks do not belong together, or not to what is wanted.
    """
    discriminator = found.get("D")
    if "G_A" in found or "G_B" in found:
        if "G" in found or wanted in ("pix2pix", "pix2pixhd", "cut"):
            raise DataError(
                f"{', '.join(sorted(found))} are not the networks of one {wanted or 'pix2pix'}: leave out "
                f"method={wanted or 'pix2pix'}"
            )
        return "cyclegan"
    generator = found["G"]
    if wanted is None and any(network.kind in OF_PIX2PIXHD for network in found.values()):
        return "pix2pixhd"
    if wanted is None and ("F" in found or (discriminator is not None and discriminator.settings.get("antialias"))):
        return "cut"
    if discriminator is not None and wanted is None:
        conditional = discriminator.in_channels == generator.in_channels + generator.out_channels
        return "pix2pix" if conditional else "cyclegan"
    return wanted or ("pix2pix" if generator.kind == "unet" else "cyclegan")


def by_role(found: Mapping[str, Architecture], method: Method) -> dict[str, str]:
    """The reference's name of the network for each of ours, as far as there are files.

    A lone generator in a CycleGAN is the one from A to B, and a lone discriminator the one that judges what it makes.
    """
    if method in ("pix2pix", "pix2pixhd"):
        roles = {"generator": "G", "discriminator": "D"}
    elif method == "cut":
        roles = {"generator": "G", "discriminator": "D", "sampler": "F"}
    elif "G" in found:
        roles = {"generator_ab": "G", "discriminator_b": "D"}
    else:
        roles = {"generator_ab": "G_A", "generator_ba": "G_B", "discriminator_a": "D_B", "discriminator_b": "D_A"}
    return {role: name for role, name in roles.items() if name in found}


def channels_of(found: Mapping[str, Architecture], roles: Mapping[str, str], method: Method) -> dict[str, int]:
    """The channels of domains A and B as a batch holds them.

    Raises:
        DataError: two networks do not fit together.
    """
    table = TABLES[method]
    ends: dict[str, int] = {}
    for role, name in roles.items():
        spec, network = table[role], found[name]
        if spec.kind == "generator":
            assert spec.writes is not None
            for domain, channels in ((spec.domains[0], network.in_channels), (spec.writes, network.out_channels)):
                if ends.setdefault(domain, channels) != channels:
                    raise DataError(
                        f"{name} has {channels} channels for domain {domain}, another generator {ends[domain]}: "
                        f"these files are not of one training"
                    )
    for role, name in roles.items():
        expected = sum(ends[domain] for domain in table[role].domains)
        if found[name].in_channels != expected:
            raise DataError(
                f"{name} sees {found[name].in_channels} channels where there should be {expected}: "
                f"these files are not of one training (or name it by method=pix2pix, method=cyclegan or method=cut)"
            )
    return ends


def overrides_for(
    found: Mapping[str, Architecture], roles: Mapping[str, str], method: Method, assumed: Assumptions
) -> list[str]:
    """What to give to `patchlight-train` so that it has these networks, beside the data.

    Raises:
        DataError: the networks of the two directions differ, or an assumption contradicts the tensors.
    """
    generator = _one(
        [found[name] for role, name in roles.items() if TABLES[method][role].kind == "generator"], "generators"
    )
    discriminators = [found[name] for role, name in roles.items() if TABLES[method][role].kind == "discriminator"]
    groups = [f"model={method}", f"data={'unpaired' if method in ('cyclegan', 'cut') else 'paired'}"]
    groups.append(f"model/generator={_generator_choice(generator)}")
    settings = {
        "generator": _with_assumptions(generator, assumed),
        "discriminator": {"norm": generator.settings["norm"]},
    }
    if discriminators:
        discriminator = _one(discriminators, "discriminators")
        groups.append(f"model/discriminator={_discriminator_choice(discriminator)}")
        settings["discriminator"] = discriminator.settings
    if "sampler" in roles:
        settings["sampler"] = found[roles["sampler"]].settings
        groups.append(f"model/sampler={'mlp' if settings['sampler'] else 'plain'}")
    wanted = {f"model.{part}.{key}": value for part, own in settings.items() for key, value in own.items()}
    if method != "cut" and wanted.pop("model.discriminator.antialias", False):
        wanted["+model.discriminator.antialias"] = True  # a key of CUT's configuration alone
    if assumed.gan_mode == "wgangp":
        groups.append("model/penalty=wgan_gp")
    if assumed.gan_mode is not None:
        wanted["model.gan_mode"] = assumed.gan_mode
    channels = channels_of(found, roles, method)
    if assumed.n_classes is not None:
        if channels["A"] != assumed.n_classes + assumed.instances:
            raise DataError(
                f"n_classes={assumed.n_classes} with instances={str(assumed.instances).lower()} makes "
                f"{assumed.n_classes + assumed.instances} channels, and the generator reads {channels['A']}"
            )
        wanted |= {"data.n_classes": assumed.n_classes, "data.instances": assumed.instances}
        channels = {**channels, "A": 3}  # the default, of which nothing is made
    on_disk = channels if assumed.direction == "AtoB" else {"A": channels["B"], "B": channels["A"]}
    wanted |= {"data.direction": assumed.direction, "data.channels_a": on_disk["A"], "data.channels_b": on_disk["B"]}
    default = compose_config("train", groups)
    return [*groups, *(f"{key}={_yaml(value)}" for key, value in wanted.items() if _differs(default, key, value))]


def _one(networks: list[Architecture], what: str) -> Architecture:
    for other in networks[1:]:
        if (other.kind, other.settings) != (networks[0].kind, networks[0].settings):
            raise DataError(
                f"the {what} differ ({networks[0].kind} {networks[0].settings} and {other.kind} {other.settings}): "
                f"those of a CycleGAN share their settings"
            )
    return networks[0]


def _discriminator_choice(discriminator: Architecture) -> str:
    if discriminator.kind == "patch":
        return PATCHES.get(discriminator.settings["n_layers"], "patch70")
    return discriminator.kind


def _generator_choice(generator: Architecture) -> str:
    if generator.kind in ("global", "local"):
        return {"global": "global", "local": "local_enhancer"}[generator.kind]
    if generator.kind == "unet":
        return "unet_128" if generator.settings["num_downs"] == 7 else "unet_256"
    return "resnet_6" if generator.settings["n_blocks"] == 6 else "resnet_9"


def _with_assumptions(generator: Architecture, assumed: Assumptions) -> dict[str, Any]:
    settings = dict(generator.settings)
    for key, value in (("dropout", assumed.dropout), ("padding", assumed.padding)):
        if value is not None:
            if key not in generator.unknown and key not in settings:
                raise DataError(f"{key}={value} is nothing that this generator has: leave it out")
            if settings.get(key, value) != value:
                raise DataError(f"{key}={value} contradicts the weights, which are those of {key}={settings[key]}")
            settings[key] = value
    return settings


def _differs(default: DictConfig, key: str, value: Any) -> bool:
    return bool(OmegaConf.select(default, key) != value)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
