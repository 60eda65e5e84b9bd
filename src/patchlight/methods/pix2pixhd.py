"""pix2pixHD: pix2pix with several scales, and with features in place of pixels to compare images by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from patchlight.losses import (
    AdversarialMode,
    AdversarialObjective,
    FeatureMatchingTerm,
    Features,
    GeneratorTerm,
    Penalty,
    StepImages,
)
from patchlight.methods.adversarial import AdversarialLoss
from patchlight.methods.base import OptimizerFactory, ScheduleFactory, TranslationMethod
from patchlight.methods.generator_terms import GeneratorTerms
from patchlight.methods.guard import OnNonFinite
from patchlight.methods.inference import InferenceMode
from patchlight.methods.networks import NetworkSpec, frozen
from patchlight.methods.optimization import Loss, Terms, batch_weights, mean_terms
from patchlight.methods.state import Batch
from patchlight.networks import Discriminator, Generator


class Pix2PixHD(TranslationMethod):
    """Conditional GAN that minimises GAN(D(A, G(A))) + lambda_feat FM(G(A), B) + lambda_perceptual P(G(A), B).

    `generator` maps A, often a label map as `data.n_classes` gives it, to B; `discriminator` reads both concatenated
    along the channels, and its maps of all scales are summed. FM compares its features of the generated and of the real
    image (`FeatureMatchingTerm`), P is `perceptual`, a fixed module (fake, real) -> scalar such as `PerceptualLoss`, or
    None for no such term. A term with a lambda of 0 is neither computed nor logged. In each step the gradients of both
    sides are those of the networks as they were before it; then both move.

    Logged, before their weights: `g_gan g_feat g_perceptual d_real d_fake` (relativistic: `d_pair`); for each penalty
    its value and the norm of the gradient it looks at, `d_<name> d_<name>_norm`; `g_<name>` of each of
    `generator_terms`; and `g_total d_total`, what was minimised.

    Raises:
        ValueError: see `AdversarialLoss`, `GeneratorTerms` and `TranslationMethod`; a negative lambda, a discriminator
            that does not show its features, or a `discriminator_start` until which the generator would have no loss.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
    equations 3 to 5 and appendix A.1.
    """

    networks = {
        "generator": NetworkSpec("generator", reads=("A",), writes="B"),
        "discriminator": NetworkSpec("discriminator", reads=("A", "B")),
    }
    references = {"fake_B": "real_B"}

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        adversarial: AdversarialObjective | None = None,
        gan_mode: AdversarialMode | None = None,
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_feat: NonNegativeFloat = 10.0,
        perceptual: nn.Module | None = None,
        lambda_perceptual: NonNegativeFloat = 10.0,
        penalties: Mapping[str, Penalty | None] | None = None,
        unpenalized_critic: bool = False,
        generator_terms: Mapping[str, GeneratorTerm | None] | None = None,
        discriminator_augment: nn.Module | None = None,
        optimizer: OptimizerFactory | None = None,
        optimizer_d: OptimizerFactory | None = None,
        optimizers: Mapping[str, OptimizerFactory] | None = None,
        schedule: ScheduleFactory | None = None,
        accumulate: PositiveInt = 1,
        clip_g: PositiveFloat | None = None,
        clip_d: PositiveFloat | None = None,
        d_steps_per_g_step: PositiveInt = 1,
        discriminator_start: NonNegativeInt = 0,
        on_nonfinite: OnNonFinite = "stop",
        inference_mode: InferenceMode = "eval",
    ) -> None:
        super().__init__(
            optimizer=optimizer, optimizer_d=optimizer_d, optimizers=optimizers, schedule=schedule,
            accumulate=accumulate, clip_g=clip_g, clip_d=clip_d, d_steps_per_g_step=d_steps_per_g_step,
            discriminator_start=discriminator_start, on_nonfinite=on_nonfinite, inference_mode=inference_mode,
        )  # fmt: skip
        for name, value in (("lambda_feat", lambda_feat), ("lambda_perceptual", lambda_perceptual)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        self.generator = generator
        self.discriminator = discriminator
        self.adversarial = AdversarialLoss(
            adversarial=adversarial,
            gan_mode=gan_mode,
            default_mode="lsgan",
            real_label=real_label,
            fake_label=fake_label,
            penalties=penalties,
            augment=discriminator_augment,
            unpenalized_critic=unpenalized_critic,
            critics=self.discriminators,
        )
        own: dict[str, GeneratorTerm] = {"feat": FeatureMatchingTerm(lambda_feat)} if lambda_feat else {}
        if perceptual is not None:
            own["perceptual"] = FixedLossTerm(perceptual, lambda_perceptual)
        self.generator_terms = _all_terms(own, generator_terms or {}, self.discriminators)
        if discriminator_start and not self.generator_terms.are_enough_alone():
            raise ValueError(
                f"discriminator_start={discriminator_start} leaves the generator without a loss until then: give "
                f"perceptual or another of generator_terms, or start the discriminator at 0"
            )

    @property
    def boundary(self) -> float | None:
        return self.adversarial.objective.threshold

    def optimise(self, batches: Sequence[Batch], *, update_g: bool, update_d: bool) -> Terms:
        sides = self.sides()
        weights = batch_weights(batches)
        with torch.set_grad_enabled(update_g):
            fakes = [self.fake("generator", batch, keep=len(batches) == 1) for batch in batches]
        self.last_step.images = {"fake_B": fakes[-1].detach(), "real_B": batches[-1]["B"]}
        matches = update_g and update_d and self.generator_terms.need_features(self.g_steps)
        losses: list[Loss] = []
        for batch, fake, weight in zip(batches, fakes, weights, strict=True):
            images = _Pairs(batch["A"], batch["B"], fake, matches)
            if update_d:
                losses.append(Loss(partial(self._d_terms, images), self.discriminators, weight, "d_"))
            if update_g:
                losses.append(Loss(partial(self._g_terms, images, update_d), self.generators, weight, "g_"))
        moved = [sides[name] for name, moves in (("d", update_d), ("g", update_g)) if moves]
        found = self.compute_gradients(moved[0] if len(moved) == 1 else moved[0] + moved[1], losses)
        self.step_optimizers(found, batches=batches)
        terms: Terms = {}
        for prefix in ("d_", "g_"):
            own = [made for loss, made in zip(losses, found.terms, strict=True) if loss.prefix == prefix]
            if own:
                terms |= {prefix + name: value for name, value in mean_terms(own, weights).items()}
        return terms

    def _d_terms(self, images: _Pairs) -> Terms:
        """The discriminator's terms; its features of the real images are kept for the generator's."""
        loss = self.adversarial.discriminator(
            self.discriminator, images.real_AB, images.fake_AB.detach(), fake_first=True, step=self.d_steps,
            features=images.matches, condition_channels=images.source.shape[1],
        )  # fmt: skip
        images.real_features = loss.real_features
        self.last_step.logits["discriminator"] = loss.real, loss.fake
        return loss.terms

    def _g_terms(self, images: _Pairs, adversarial: bool) -> Terms:
        """The generator's terms, with their weighted sum `total`; the discriminator learns nothing from them."""
        seen = StepImages(source=images.source, fake=images.fake, real=images.real)
        # A sum for steps in which no term is due.
        terms: Terms = {"total": 0.0 * images.fake.sum()}
        if adversarial:
            with frozen(*self.discriminators):
                gan = self.adversarial.generator(
                    self.discriminator, images.real_AB, images.fake_AB, features=images.matches,
                    real_features=images.real_features, condition_channels=images.source.shape[1],
                )  # fmt: skip
            images.real_features = None
            seen = gan.with_features(seen)
            terms = {"gan": gan.term, "total": gan.term}
        return self.generator_terms.add_to(terms, seen, self.g_steps)


class FixedLossTerm(GeneratorTerm):
    """A fixed module (fake, real) -> scalar as a term of a generator's loss."""

    needs_pairs = True

    def __init__(self, loss: nn.Module, weight: NonNegativeFloat) -> None:
        super().__init__(weight)
        self.loss = loss

    def forward(self, images: StepImages) -> Tensor:
        value: Tensor = self.loss(images.fake, images.real)
        return value


@dataclass
class _Pairs:
    """The images of a batch on their way through a step; `matches` says whether features are compared in it."""

    source: Tensor
    real: Tensor
    fake: Tensor
    matches: bool
    real_features: Features | None = None
    """Between the discriminator's and the generator's loss."""

    @property
    def real_AB(self) -> Tensor:  # noqa: N802
        """What the discriminator sees of a real pair."""
        return torch.cat([self.source, self.real], dim=1)

    @property
    def fake_AB(self) -> Tensor:  # noqa: N802
        """What it sees of an image with its translation."""
        return torch.cat([self.source, self.fake], dim=1)


def _all_terms(
    own: Mapping[str, GeneratorTerm],
    others: Mapping[str, GeneratorTerm | None],
    discriminators: Sequence[Discriminator],
) -> GeneratorTerms:
    """The method's own terms and the others.

    Raises:
        ValueError: see `GeneratorTerms`; or one of the others has the name of an own one.
    """
    for name in own.keys() & others.keys():
        raise ValueError(f"generator_terms.{name} has the name of a term that pix2pixHD has itself: choose another")
    return GeneratorTerms({**own, **others}, own=("gan", "total"), has_pairs=True, discriminators=discriminators)
