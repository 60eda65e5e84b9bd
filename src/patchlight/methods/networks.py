"""The networks of a method as a table, and what follows from the table: translations, patch maps and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.methods.inference import InferenceMode, image_seed, inference, noise_for
from patchlight.methods.state import Batch
from patchlight.networks import Discriminator, Generator, Maps, as_maps, recomputed

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

    @property
    def further(self) -> tuple[str, ...]:
        """What it reads beside images of a domain."""
        return tuple(key for key in self.reads if key not in DOMAINS)


class TranslationNetworks(nn.Module):
    """The networks that a method's table names, in use: generators translate, discriminators score.

    Each is an attribute under its name in `networks`.
    """

    networks: ClassVar[Mapping[str, NetworkSpec]]
    references: ClassVar[Mapping[str, str]] = {}
    """Which generated image should equal which real one, by the names that `translate` gives them; may be empty."""
    inference_mode: InferenceMode

    @classmethod
    def network_arguments(
        cls, name: str, settings: Mapping[str, Any], channels: Mapping[str, int], other: Callable[[str], nn.Module]
    ) -> dict[str, Any]:
        """Arguments for the constructor of a network that follow from other networks, from settings and from the data.

        `settings` is the section `model` of the configuration, `channels` how many each domain has, and `other` gives a
        network of the table by its name, not to be changed: it may be without data. What the constructor does not take
        is left out. A method whose networks have to fit one another says so here.

        Raises:
            ValueError: they do not; the message begins with the setting.
        """
        return {}

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
        scored = {name: s.domains[-1] for name, s in self.networks.items() if s.kind == "discriminator"}
        return {name: (f"real_{domain}", f"fake_{domain}") for name, domain in scored.items()}

    @property
    def gallery(self) -> Sequence[Sequence[tuple[str, str]]]:
        """The images of a sample picture with their titles: a block of columns for each direction."""
        blocks = []
        for fake, (source, _) in self.translations.items():
            target = [(self.references[fake], "target")] if fake in self.references else []
            blocks.append([(f"real_{source}", "input"), (fake, "output"), *target])
        return blocks

    @property
    def boundary(self) -> float | None:
        """The logit on whose sides real and fake lie; None where there is no such."""
        return None

    @classmethod
    def generate(cls, name: str, generator: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """The images, B C H W in [-1, 1], that a generator of the table makes of entries of a batch.

        This is the only place that calls a generator: in training, in `translate`, in translating files and in what is
        exported. A method whose images are not what its generator returns has its own.
        """
        images: Tensor = generator(*(inputs[key] for key in cls.networks[name].reads))
        return images

    def fake(self, name: str, batch: Batch, *, keep: bool = True, through: nn.Module | None = None) -> Tensor:
        """What the generator of a name makes of a batch, with what its backward pass needs.

        Unless `keep`, that is computed again when it is needed, which saves memory where the images of many batches
        wait for their backward pass. `through` is called in the generator's place, for what it sees on the way.
        """
        generator = through or self.get_submodule(name)
        compute = partial(self.generate, name, generator)
        inputs = {key: batch[key] for key in self.networks[name].reads if key in batch}
        if len(inputs) < len(self.networks[name].reads):
            raise ConfigError(
                f"{type(self).__name__}.{name} reads {', '.join(self.networks[name].reads)}, of which a batch has "
                f"{', '.join(inputs)}: let the data give the others by these keys, or add them in with_conditions"
            )
        return compute(inputs) if keep else recomputed(generator, inputs, compute)

    def with_conditions(self, batch: Batch, noise_seed: int | None = None) -> Batch:
        """A batch with all that its generators read: as it is, and with noise unless it is in it.

        A method that makes further inputs of a batch adds them here, for training, validation and test alike. With a
        seed the noise of an image follows from the name of its file, or from the seed and its place in a batch
        without names; without one, as in training, it is drawn from this rank's random numbers.
        """
        drawn = {}
        for name, spec in self.networks.items():
            for key in spec.further if spec.kind == "generator" else ():
                condition = cast(Generator, self.get_submodule(name)).conditions[key]
                if condition.noise and key not in batch and key not in drawn:
                    images = batch[spec.domains[0]]
                    paths = batch.get("A_path") or [f"{noise_seed} {i}" for i in range(len(images))]
                    seeds = [image_seed(path) for path in paths] if noise_seed is not None else None
                    drawn[key] = noise_for(images, condition, seeds)
        return {**batch, **drawn} if drawn else batch

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        """The images of a batch, real and generated, by name: `real_A`, `fake_B` and so on, B C H W in [-1, 1]."""
        batch = self.with_conditions(batch, noise_seed)
        images = {f"real_{domain}": batch[domain] for domain in DOMAINS}
        with inference(*self.generators, mode=self.inference_mode, noise_seed=noise_seed):
            for name, spec in self.networks.items():
                if spec.kind == "generator":
                    images[f"fake_{spec.writes}"] = self.fake(name, batch)
        return images

    def score_pairs(self, images: Mapping[str, Tensor]) -> dict[str, tuple[Maps, Maps]]:
        """The patch maps of what `translate` gave, real and generated, by discriminator: B 1 h w logits of each scale.

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

    def score_real(self, batch: Batch) -> dict[str, Maps]:
        """The patch maps of the real images of a batch, by discriminator, as `score_pairs` makes them."""
        with inference(*self.discriminators, mode="paper"):
            return {
                name: as_maps(network(torch.cat([batch[domain] for domain in self.networks[name].domains], dim=1)))
                for name, network in self.modules_of("discriminator").items()
            }

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


class GeneratorCall(Generator):
    """A generator as its method calls it, by itself: an image B C H W and values of its conditions to an image.

    The values come in the order of the method's table, each with the batch as its first dimension.
    """

    def __init__(self, method: type[TranslationNetworks], name: str, generator: Generator) -> None:
        super().__init__()
        self.method = method
        self.name = name
        self.generator = generator
        self.size_multiple = generator.size_multiple
        self.min_size = generator.min_size
        self.min_size = generator.min_size
        spec = method.networks[name]
        self.conditions = {key: generator.conditions[key] for key in spec.further}
        self._keys = (spec.domains[0], *spec.further)

    def forward(self, image: Tensor, *values: Tensor) -> Tensor:
        return self.method.generate(self.name, self.generator, dict(zip(self._keys, (image, *values), strict=True)))


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
