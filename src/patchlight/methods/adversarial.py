"""The adversarial part of a step, for both sides: an objective over patch maps, and a critic's penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from patchlight.errors import ConfigError
from patchlight.losses import (
    AdaptiveAugment,
    AdversarialMode,
    AdversarialObjective,
    ConditionalAugment,
    Features,
    Penalty,
    Prediction,
    StepImages,
    make_objective,
    require_penalisable,
)
from patchlight.methods.passes import is_batch_independent
from patchlight.methods.state import reconcile
from patchlight.networks import Discriminator, Maps, as_maps, with_gradient


class GeneratorLoss(NamedTuple):
    """The adversarial term of a generator's step, and the discriminator's features where they were asked for."""

    term: Tensor
    fake_features: Features | None = None
    real_features: Features | None = None
    """Without gradients."""
    map_weights: tuple[float, ...] | None = None

    def with_features(self, images: StepImages) -> StepImages:
        """The images of the step with the discriminator's features of them."""
        return replace(
            images,
            fake_features=self.fake_features,
            real_features=self.real_features,
            map_weights=self.map_weights,
        )


class DiscriminatorLoss(NamedTuple):
    """The loss of a discriminator's step, and the patch maps it was computed on."""

    terms: dict[str, Tensor]
    """The terms of the objective; of each penalty that is due its value and its gradient norm, `<name>` and
    `<name>_norm`; and `total`, which is minimised."""
    objective: Tensor
    """The objective's own total, without penalties."""
    real: Maps
    """B 1 h w for each scale, detached."""
    fake: Maps
    real_features: Features | None = None
    """The discriminator's features of the real images, detached, where they were asked for."""


class AdversarialLoss(nn.Module):
    """The objective that generators and discriminators minimise of each other, and the critics' penalties.

    The objective is the object `adversarial`, or the one that `gan_mode` names with its labels; without either, the
    one of `default_mode`. `penalties` have names, under which they are logged; one that is None is left out. `augment`
    is applied to real and fake images alike, each drawn for itself, on the discriminators' way in both sides' steps and
    nowhere else; a penalty is of the gradient through it. Where a discriminator's maps have weights
    (`Discriminator.map_weights`), each term is the sum over the maps with these, and a penalty that of the gradient of
    the logits with these.

    Raises:
        ValueError: `adversarial` beside a `gan_mode` or labels, or no objective; an objective that needs a penalty and
            has none, which trains an unconstrained critic (unless `unpenalized_critic` says that this is what is
            wanted); penalties with batch norm in one of the `critics`; labels where the mode has none; or
            an `augment` that is no module.

    Source: Gulrajani et al. 2017, algorithm 1 (the penalty).
    """

    def __init__(
        self,
        *,
        adversarial: AdversarialObjective | None = None,
        gan_mode: AdversarialMode | None,
        default_mode: AdversarialMode,
        real_label: float,
        fake_label: float,
        penalties: Mapping[str, Penalty | None] | None,
        augment: nn.Module | None = None,
        unpenalized_critic: bool,
        critics: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        if adversarial is None:
            adversarial = make_objective(gan_mode or default_mode, real_label, fake_label)
        else:
            _require_alone(adversarial, gan_mode, (real_label, fake_label))
        self.objective = adversarial
        self.penalties = nn.ModuleDict({name: each for name, each in (penalties or {}).items() if each is not None})
        if self.penalties:
            for critic in critics:
                require_penalisable(critic)
        elif self.objective.needs_penalty and not unpenalized_critic:
            raise ValueError(
                f"{self.objective.extra_repr() or type(self.objective).__name__} without a gradient penalty trains an "
                f"unconstrained critic: choose model/penalty=wgan_gp with model.discriminator.norm=instance (or none), "
                f"or set model.unpenalized_critic=true to have it so"
            )
        if not isinstance(augment, nn.Module | None):
            raise ValueError(f"discriminator_augment is a {type(augment).__name__}: give a torch.nn.Module")
        self.augment = augment
        self.register_load_state_dict_pre_hook(_adapt_state)  # type: ignore[no-untyped-call]

    def generator(
        self,
        critic: Discriminator,
        real: Tensor,
        fake: Tensor,
        *,
        features: bool = False,
        real_features: Features | None = None,
        condition_channels: int = 0,
    ) -> GeneratorLoss:
        """The generator's loss: its images, B C H W, are to be taken for real. The critic is fixed.

        With `features` those of the critic are returned, too, of both images as they are, without an augmentation that
        would make two different images of a pair. `real_features` are those of the real images, where they are known.
        The first `condition_channels` of the images are the critic's condition, the same for both.
        """
        if not features:
            return GeneratorLoss(self._generator_term(critic, real, fake, condition_channels))
        fake_features = critic.features(fake)
        if real_features is None:
            with torch.no_grad():
                real_features = critic.features(real)
        if self.augment is not None:
            term = self._generator_term(critic, real, fake, condition_channels)
            return GeneratorLoss(term, fake_features, real_features, critic.map_weights)
        maps_real = _last(real_features) if self.objective.needs_real else None
        term = self.objective.generator(_last(fake_features), maps_real, critic.map_weights)
        return GeneratorLoss(term, fake_features, real_features, critic.map_weights)

    def _generator_term(self, critic: nn.Module, real: Tensor, fake: Tensor, condition_channels: int) -> Tensor:
        def term(fake: Tensor) -> Tensor:
            maps_fake = as_maps(critic(self._augmented(fake, condition_channels)))
            needs_real = self.objective.needs_real
            maps_real = as_maps(critic(self._augmented(real, condition_channels))) if needs_real else None
            return self.objective.generator(maps_fake, maps_real, _map_weights(critic))

        return with_gradient(term, fake)

    def discriminator(
        self,
        critic: Discriminator,
        real: Tensor,
        fake: Tensor,
        *,
        fake_first: bool,
        step: int,
        features: bool = False,
        condition_channels: int = 0,
    ) -> DiscriminatorLoss:
        """The loss of a discriminator's step on real and generated images, B C H W.

        Both go through the discriminator in one pass if that makes no difference (`is_batch_independent`); otherwise
        `fake_first` is the order of the two passes, which the running statistics of batch norm remember. `step` counts
        the discriminator's steps, for the penalties' intervals. With `features` those of the real images are returned,
        unless there is an augmentation, of whose images they would be. `condition_channels` are as for `generator`.
        """
        fake = fake.detach()
        augmented = partial(self._augmented, condition_channels=condition_channels)
        real_features: Features | None = None
        if features and self.augment is None:
            real_features, fake_features = _of_both(critic, critic.features, real, fake, fake_first)
            maps_real, maps_fake = _last(real_features), _last(fake_features)
            real_features = tuple(tuple(each.detach() for each in scale) for scale in real_features)
        else:
            seen = augmented(real), augmented(fake)
            (maps_real,), (maps_fake,) = _of_both(critic, lambda images: (as_maps(critic(images)),), *seen, fake_first)
        terms = self.objective.discriminator(maps_real, maps_fake, _map_weights(critic))
        objective = terms["total"]
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Penalty)
            if penalty.due(step):
                terms[name], terms[f"{name}_norm"] = penalty(
                    lambda images: _weighted(critic(augmented(images)), _map_weights(critic)), real, fake
                )
                terms["total"] = terms["total"] + penalty.scale * terms[name]
        seen_real, seen_fake = (tuple(logits.detach() for logits in maps) for maps in (maps_real, maps_fake))
        if isinstance(self.augment, AdaptiveAugment):
            self.augment.observe(*_centred(seen_real, seen_fake, self.objective.threshold))
        return DiscriminatorLoss(terms, objective, seen_real, seen_fake, real_features)

    def _augmented(self, images: Tensor, condition_channels: int) -> Tensor:
        """What a discriminator sees of images in training.

        Raises:
            ConfigError: images of another shape, or without the gradient that the generator learns from.
        """
        if self.augment is None:
            return images
        conditional = isinstance(self.augment, ConditionalAugment)
        seen: Tensor = self.augment(images, condition_channels) if conditional else self.augment(images)
        if seen.shape != images.shape:
            raise ConfigError(
                f"model.discriminator_augment makes {tuple(seen.shape)} of {tuple(images.shape)}: it should leave the "
                f"shape of the images, B C H W, as it is"
            )
        if images.requires_grad and torch.is_grad_enabled() and not seen.requires_grad:
            raise ConfigError(
                "model.discriminator_augment is not differentiable, so that the generator would learn nothing from the "
                "discriminator: give one that is made of differentiable operations"
            )
        return seen


def _map_weights(critic: nn.Module) -> tuple[float, ...] | None:
    return critic.map_weights if isinstance(critic, Discriminator) else None


def _weighted(maps: Prediction, weights: Sequence[float] | None) -> Prediction:
    """The logits of each map with its weight."""
    if weights is None:
        return maps
    return tuple(weight * logits for weight, logits in zip(weights, as_maps(maps), strict=True))


def _of_both(
    critic: nn.Module, compute: Callable[[Tensor], Features], real: Tensor, fake: Tensor, fake_first: bool
) -> tuple[Features, Features]:
    """What is computed of real and of fake images by a critic."""
    if real.shape == fake.shape and is_batch_independent(critic):
        halves = [[made.chunk(2) for made in scale] for scale in compute(torch.cat([real, fake]))]
        first, second = (tuple(tuple(made[i] for made in scale) for scale in halves) for i in range(2))
        return first, second
    if fake_first:
        of_fake = compute(fake)
        return compute(real), of_fake
    return compute(real), compute(fake)


def _last(features: Features) -> Maps:
    """The maps that features end in."""
    return tuple(scale[-1] for scale in features)


def _centred(real: Maps, fake: Maps, threshold: float | None) -> tuple[Maps, Maps]:
    """The maps of each scale without the threshold above which a patch counts as real, in float32 or more."""
    real, fake = (tuple(m.to(torch.promote_types(m.dtype, torch.float32)) for m in maps) for maps in (real, fake))
    limits = [(r.mean() + f.mean()) / 2 if threshold is None else threshold for r, f in zip(real, fake, strict=True)]
    centred = [tuple(m - limit for m, limit in zip(maps, limits, strict=True)) for maps in (real, fake)]
    return centred[0], centred[1]


def _require_alone(adversarial: object, gan_mode: str | None, labels: tuple[float, float]) -> None:
    """Raise a ValueError if this is no objective, or not the only one that is given."""
    if not isinstance(adversarial, AdversarialObjective):
        raise ValueError(
            f"adversarial is a {type(adversarial).__name__}: derive it from patchlight.losses.AdversarialObjective"
        )
    if gan_mode is not None:
        raise ValueError(
            f"gan_mode={gan_mode} and model.adversarial are both given, and each is an objective: set "
            f"model.gan_mode=null to have the latter, or model/adversarial=gan_mode to have the former"
        )
    if labels != (1.0, 0.0):
        raise ValueError(
            f"real_label={labels[0]} and model.fake_label={labels[1]} belong to model.gan_mode: give model.adversarial "
            f"its own, and leave these at 1.0 and 0.0"
        )


def _adapt_state(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Labels have another name in checkpoints of before objectives were objects; an augmentation may be new or gone."""
    for key in [key for key in state if key.startswith(f"{prefix}pointwise.")]:
        state[f"{prefix}objective.{key.removeprefix(f'{prefix}pointwise.')}"] = state.pop(key)
    augment: nn.Module | None = module.augment  # type: ignore[assignment]
    place = f"{prefix}augment."
    reconcile({} if augment is None else augment.state_dict(prefix=place), state, place)
