"""The networks of a method as a table, and what follows from the table: translations, patch maps and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.methods.inference import InferenceMode, inference
from patchlight.methods.state import Batch
from patchlight.networks import Discriminator, Generator, Maps, as_maps

Kind = Literal["generator", "discriminator", "auxiliary"]

DOMAINS = ("A", "B")


@dataclass(frozen=True)
class NetworkSpec:
    """A network of a method: its kind, what it reads and writes, what builds it, and which optimizer moves it.

    `reads` are keys of a batch: the domains "A" and "B", and further inputs such as "z", "class_id" or "mask". A
    generator takes them as its arguments, in this order, and `writes` images of a domain. A discriminator takes one
    image, of the domains that it reads concatenated along the channels; it judges the last of them. `config` is the
    key below `model` that describes the network, its kind unless another is named; several networks may share one.
    `optimizer` "g" is built by `model.optimizer`, "d" by `model.optimizer_d` and any other NAME by
    `model.optimizers.NAME`; unless another is named, discriminators are moved by "d" and all others by "g". `averaged`
    networks have a moving average with callbacks=ema; by default generators have.

    Raises:
        ValueError: an unknown kind, or a generator that does not read or does not write a domain.
    """

    kind: Kind
    reads: tuple[str, ...] = ()
    writes: str | None = None
    config: str = ""
    optimizer: str = ""
    averaged: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be {', '.join(get_args(Kind))}, got {self.kind!r}")
        if self.kind == "generator" and (self.writes not in DOMAINS or not self.domains):
            raise ValueError(f"a generator reads and writes A or B, got reads={self.reads}, writes={self.writes!r}")
        for name, default in (
            ("config", self.kind),
            ("optimizer", "d" if self.kind == "discriminator" else "g"),
            ("averaged", self.kind == "generator"),
        ):
            if getattr(self, name) in ("", None):
                object.__setattr__(self, name, default)

    @property
    def domains(self) -> tuple[str, ...]:
        """What it reads that is an image of a domain."""
        return tuple(key for key in self.reads if key in DOMAINS)


class TranslationNetworks(nn.Module):
    """The networks that a method's table names, in use: generators translate, discriminators score.

    Each is an attribute under its name in `networks`.
    """

    networks: ClassVar[Mapping[str, NetworkSpec]]
    references: ClassVar[Mapping[str, str]] = {}
    """Which generated image should equal which real one, by the names that `translate` gives them; may be empty."""
    inference_mode: InferenceMode

    def modules_of(self, kind: Kind | None = None) -> dict[str, nn.Module]:
        """The networks of a kind, or all of them, by name, in the order of the table."""
        return {name: self.get_submodule(name) for name, spec in self.networks.items() if kind in (None, spec.kind)}

    @property
    def generators(self) -> tuple[Generator, ...]:
        """All generators, in the order of the table."""
        return tuple(cast(Generator, network) for network in self.modules_of("generator").values())

    @property
    def discriminators(self) -> tuple[Discriminator, ...]:
        """All discriminators, in the order of the table."""
        return tuple(cast(Discriminator, network) for network in self.modules_of("discriminator").values())

    @property
    def optimizer_names(self) -> tuple[str, ...]:
        """The optimizers that the table names, in its order."""
        return tuple(dict.fromkeys(spec.optimizer for spec in self.networks.values()))

    def moved_by(self, optimizer: str) -> dict[str, nn.Module]:
        """The networks that an optimizer moves, by name, in the order of their parameters in it."""
        return {name: self.get_submodule(name) for name, s in self.networks.items() if s.optimizer == optimizer}

    @property
    def translations(self) -> dict[str, tuple[str, str]]:
        """The images that `translate` makes of one domain for the other, each with those two domains."""
        written = [(spec.domains[0], spec.writes) for spec in self.networks.values() if spec.kind == "generator"]
        return {f"fake_{target}": (source, target) for source, target in written if target is not None}

    @property
    def score_targets(self) -> dict[str, tuple[str, str]]:
        """The real and the generated image on which each discriminator's patch map lies."""
        judged = {name: s.domains[-1] for name, s in self.networks.items() if s.kind == "discriminator"}
        return {name: (f"real_{domain}", f"fake_{domain}") for name, domain in judged.items()}

    @property
    def gallery(self) -> Sequence[Sequence[tuple[str, str]]]:
        """The images of a sample picture with their titles: a block of columns for each direction."""
        blocks = []
        for fake, (source, _) in self.translations.items():
            block = [(f"real_{source}", "input"), (fake, "output")]
            blocks.append(block + [(self.references[fake], "target")] * (fake in self.references))
        return blocks

    @property
    def boundary(self) -> float | None:
        """The logit on whose sides real and fake lie; None where there is no such."""
        return None

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        """The images of a batch, real and generated, by name: `real_A`, `fake_B` and so on, B C H W in [-1, 1]."""
        images = {f"real_{domain}": batch[domain] for domain in DOMAINS}
        with inference(*self.generators, mode=self.inference_mode, noise_seed=noise_seed):
            for name, spec in self.networks.items():
                if spec.kind == "generator":
                    images[f"fake_{spec.writes}"] = self.get_submodule(name)(*(batch[key] for key in spec.reads))
        return images

    def score_pairs(self, images: Mapping[str, Tensor]) -> dict[str, tuple[Maps, Maps]]:
        """The patch maps, B 1 h w logits, of what `translate` gave, real and generated, by discriminator.

        Each has one map for each of its scales.

        The discriminators judge as in training, with the statistics of the batch, and are left as they were.
        """
        maps = {}
        with inference(*self.discriminators, mode="paper"):
            for name, (real_name, fake_name) in self.score_targets.items():
                network = self.get_submodule(name)
                given = [images[f"real_{domain}"] for domain in self.networks[name].domains[:-1]]
                real = images[real_name]
                fake = images[fake_name].to(real.dtype)
                maps[name] = (
                    as_maps(network(torch.cat([*given, real], dim=1))),
                    as_maps(network(torch.cat([*given, fake], dim=1))),
                )
        return maps

    def require_in_table(self) -> None:
        """Raise a ConfigError that names a child with weights to be trained that is not in the table."""
        for name, parameter in self.named_parameters():
            child = name.partition(".")[0]
            if parameter.requires_grad and child not in self.networks:
                raise ConfigError(
                    f"{type(self).__name__}.{child} has weights to be trained ({name}) and is not in its table of "
                    f"networks, so that no optimizer would move it: add {child!r} to networks, or set "
                    f"requires_grad_(False) for it"
                )


def is_trained(network: nn.Module) -> bool:
    """Whether a network has weights to be trained."""
    return any(parameter.requires_grad for parameter in network.parameters())


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """No gradients for the parameters of these networks, while gradients still flow through them."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
