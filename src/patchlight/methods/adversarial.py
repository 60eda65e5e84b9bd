"""The adversarial part of a step, for both sides: an objective over patch maps, and a critic's penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from patchlight.losses import AdversarialMode, AdversarialObjective, Penalty, make_objective, require_penalisable
from patchlight.networks import Maps, as_maps


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


class AdversarialLoss(nn.Module):
    """The objective that generators and discriminators minimise of each other, and the critics' penalties.

    The objective is the object `adversarial`, or the one that `gan_mode` names with its labels; without either, the
    one of `default_mode`. `penalties` have names, under which they are logged.

    Raises:
        ValueError: `adversarial` beside a `gan_mode` or labels, or no objective; an objective that needs a penalty and
            has none, which trains an unconstrained critic (unless `unpenalized_critic` says that this is what is
            wanted); penalties with batch norm in one of the `critics`; or labels where the mode has none.

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
        penalties: Mapping[str, Penalty] | None,
        unpenalized_critic: bool,
        critics: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        if adversarial is None:
            adversarial = make_objective(gan_mode or default_mode, real_label, fake_label)
        else:
            _require_alone(adversarial, gan_mode, (real_label, fake_label))
        self.objective = adversarial
        self.penalties = nn.ModuleDict(penalties)
        if self.penalties:
            for critic in critics:
                require_penalisable(critic)
        elif self.objective.needs_penalty and not unpenalized_critic:
            raise ValueError(
                f"{self.objective.extra_repr() or type(self.objective).__name__} without a gradient penalty trains an "
                f"unconstrained critic: choose model/penalty=wgan_gp with model.discriminator.norm=instance (or none), "
                f"or set model.unpenalized_critic=true to have it so"
            )
        self.register_load_state_dict_pre_hook(_rename_labels)  # type: ignore[no-untyped-call]

    def generator(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The generator's loss: its images, B C H W, are to be taken for real."""
        maps_fake = as_maps(critic(fake))
        return self.objective.generator(maps_fake, as_maps(critic(real)) if self.objective.needs_real else None)

    def discriminator(
        self, critic: nn.Module, real: Tensor, fake: Tensor, *, fake_first: bool, step: int
    ) -> DiscriminatorLoss:
        """The loss of a discriminator's step on real and generated images, B C H W.

        Both go through the discriminator in one pass if that makes no difference (`is_batch_independent`); otherwise
        `fake_first` is the order of the two passes, which the running statistics of batch norm remember. `step` counts
        the discriminator's steps, for the penalties' intervals.
        """
        fake = fake.detach()
        maps_real, maps_fake = _maps_of_both(critic, real, fake, fake_first)
        terms = self.objective.discriminator(maps_real, maps_fake)
        objective = terms["total"]
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Penalty)
            if penalty.due(step):
                terms[name], terms[f"{name}_norm"] = penalty(critic, real, fake)
                terms["total"] = terms["total"] + penalty.scale * terms[name]
        detached = [tuple(logits.detach() for logits in maps) for maps in (maps_real, maps_fake)]
        return DiscriminatorLoss(terms, objective, *detached)


def is_batch_independent(network: nn.Module) -> bool:
    """Whether images can share one pass: nothing in it depends on the other images or on earlier passes.

    Batch norm has the statistics of all images of a pass; running statistics and the estimate of spectral norm move
    with every pass; dropout draws other noise for an image that is not alone.
    """
    return not any(
        isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm | nn.Dropout | nn.Dropout2d)
        or (isinstance(module, nn.InstanceNorm2d) and module.track_running_stats)
        or is_parametrized(module)
        for module in network.modules()
    )


def _maps_of_both(critic: nn.Module, real: Tensor, fake: Tensor, fake_first: bool) -> tuple[Maps, Maps]:
    """The maps of real and of fake images."""
    if real.shape == fake.shape and is_batch_independent(critic):
        halves = [maps.chunk(2) for maps in as_maps(critic(torch.cat([real, fake])))]
        return tuple(half[0] for half in halves), tuple(half[1] for half in halves)
    if fake_first:
        maps_fake = as_maps(critic(fake))
        return as_maps(critic(real)), maps_fake
    return as_maps(critic(real)), as_maps(critic(fake))


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


def _rename_labels(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """The labels of checkpoints of before objectives were objects."""
    for key in [key for key in state if key.startswith(f"{prefix}pointwise.")]:
        state[f"{prefix}objective.{key.removeprefix(f'{prefix}pointwise.')}"] = state.pop(key)
