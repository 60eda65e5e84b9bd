"""The further terms of a generator's loss, as `model.generator_terms` has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.losses import ComparisonTerm, GeneratorTerm, StepImages
from patchlight.methods.networks import TranslationNetworks
from patchlight.methods.state import reconcile
from patchlight.networks import Discriminator


class GeneratorTerms(nn.ModuleDict):
    """Terms by name, fixed in their parameters; see `GeneratorTerm`. One that is None is left out.

    `own` are the names of the method's own terms, which no other can have, `has_pairs` says whether a generated image
    has one that it should equal, `has_cycle` whether it is translated back, and `discriminators` those whose features
    terms may ask for.

    Raises:
        ValueError: something that is no term, a name that cannot be logged, or a term that needs what is not there.
    """

    def __init__(
        self,
        terms: Mapping[str, GeneratorTerm | None] | None,
        *,
        own: Collection[str],
        has_pairs: bool,
        discriminators: Sequence[Discriminator],
        has_cycle: bool = False,
    ) -> None:
        super().__init__()
        for name, term in (terms or {}).items():
            key = f"generator_terms.{name}"
            if term is None:
                continue
            if not isinstance(term, GeneratorTerm):
                raise ValueError(f"{key} is a {type(term).__name__}: derive it from patchlight.losses.GeneratorTerm")
            if name in own or name in dir(self) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(
                    f"{key} has a name that is taken or cannot be one of a figure: choose another, of lower-case "
                    f"letters, digits and _"
                )
            if term.needs_pairs and not has_pairs:
                raise ValueError(
                    f"{key} compares images with those of their pairs, and this method learns without"
                    f"{_instead(has_cycle) if isinstance(term, ComparisonTerm) else ''}"
                )
            if term.needs_cycle and not has_cycle:
                raise ValueError(f"{key} looks at reconstructions, and this method does not translate back")
            for network in discriminators:
                if term.needs_features and not network.shows_features:
                    raise ValueError(
                        f"{key} looks at the features of discriminators, and {type(network).__name__} does not show "
                        f"them: give it a method features(image), or leave the term out: ~model.{key}"
                    )
            self[name] = term.requires_grad_(False)
        self.register_state_dict_post_hook(_without_parameters)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_reconcile)  # type: ignore[no-untyped-call]

    def need_features(self, step: int) -> bool:
        """Whether a term of the generators' step of this number, counted from 0, looks at discriminators' features."""
        return any(term.needs_features and term.due(step) for term in self._terms().values())

    def are_enough_alone(self) -> bool:
        """Whether there is a term that does not need discriminators, which may not have begun."""
        return any(term.weight > 0 and not term.needs_features for term in self._terms().values())

    def add_to(self, terms: dict[str, Tensor], images: StepImages, step: int, key: str = "{}") -> dict[str, Tensor]:
        """The terms of a loss with those that are due, before their weights; `total` is the sum with their weights.

        `key` is a template for the names. Under autocast terms get images in float32.

        Raises:
            ConfigError: a term that cannot be computed of these images, a value that is no scalar, or one that does not
                depend on the generated images.
        """
        found = dict(terms)
        due = {name: term for name, term in self._terms().items() if term.due(step)}
        if due:
            images = _in_full_precision(images)
        for name, term in due.items():
            if term.needs_features and images.fake_features is None:
                continue  # the discriminators have not begun
            # Fixed networks are so from here on: at its start Lightning warns of all that is not in training mode.
            try:  # a set may have images of many sizes
                term.require_images(*images.fake.shape[2:], channels=(images.source.shape[1], images.fake.shape[1]))
                value = term.eval()(images) if term.training else term(images)
            except ValueError as error:
                raise ConfigError(f"model.generator_terms.{name}: {error}") from None
            if value.numel() != 1 or (images.fake.requires_grad and not value.requires_grad):
                raise ConfigError(
                    f"model.generator_terms.{name} makes a value of shape {tuple(value.shape)}"
                    f"{'' if value.requires_grad else ' without a gradient'}: a term is a scalar that depends on "
                    f"images.fake"
                )
            found[key.format(name)] = value.reshape(())
            found["total"] = found["total"] + term.scale * found[key.format(name)]
        return found

    def require_images(self, height: int, width: int, *, channels: tuple[int, int]) -> None:
        """Raise a ConfigError that names a term which cannot take images of this size, in pixels.

        `channels` are the numbers of channels of a generator's source and of its result.
        """
        for name, term in self._terms().items():
            try:
                term.require_images(height, width, channels=channels)
            except ValueError as error:
                raise ConfigError(f"model.generator_terms.{name}: {error}") from None

    def _terms(self) -> dict[str, GeneratorTerm]:
        return {name: term for name, term in self.items() if isinstance(term, GeneratorTerm)}


def require_term_images(method: TranslationNetworks, size: tuple[int, int], channels: Mapping[str, int]) -> None:
    """Raise a ConfigError that names a term of a method which cannot take images of a height and width in pixels.

    `channels` says how many each domain, "A" and "B", has.
    """
    for terms in method.children():
        if isinstance(terms, GeneratorTerms):
            for source, target in method.translations.values():
                terms.require_images(*size, channels=(channels[source], channels[target]))


def _instead(has_cycle: bool) -> str:
    return f": set against=source{', or cycle,' if has_cycle else ''} to compare them with what they were made of"


def _in_full_precision(images: StepImages) -> StepImages:
    def full(image: Tensor) -> Tensor:
        return image.to(torch.promote_types(image.dtype, torch.float32))

    back = images.reconstruction
    return replace(
        images, source=full(images.source), fake=full(images.fake), real=full(images.real),
        reconstruction=None if back is None else full(back),
    )  # fmt: skip


def _without_parameters(module: nn.Module, state: dict[str, Any], prefix: str, metadata: object) -> None:
    for name, _ in module.named_parameters():
        state.pop(prefix + name, None)


def _reconcile(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """A checkpoint has no parameters of terms, and it may be of a training with other terms."""
    parameters = {prefix + name: parameter for name, parameter in module.named_parameters()}
    reconcile(parameters | module.state_dict(prefix=prefix), state, prefix)
