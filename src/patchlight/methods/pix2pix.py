"""pix2pix: one generator learns from pairs, against a discriminator that sees the input beside the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.losses import AdversarialMode, AdversarialObjective, GeneratorTerm, Penalty, StepImages
from patchlight.methods.adversarial import AdversarialLoss
from patchlight.methods.base import OptimizerFactory, ScheduleFactory, TranslationMethod
from patchlight.methods.generator_terms import GeneratorTerms
from patchlight.methods.guard import OnNonFinite
from patchlight.methods.inference import InferenceMode
from patchlight.methods.networks import NetworkSpec
from patchlight.methods.optimization import Loss, Terms, batch_weights, mean_terms
from patchlight.methods.state import Batch
from patchlight.networks import Discriminator, Generator


class Pix2Pix(TranslationMethod):
    """Conditional GAN with an L1 term: minimises GAN(D(A, G(A))) + lambda_l1 |G(A) - B|.

    `generator` maps A to B; `discriminator` reads A and B concatenated along the channels. In each step the
    discriminator moves first, then the generator against the moved discriminator. Of a batch with masks, `valid`, the
    L1 term counts valid pixels alone.

    Logged: `g_gan g_l1 d_real d_fake` (relativistic: `d_pair`), the terms before their weights; for each penalty its
    value and the norm of the gradient it looks at, `d_<name> d_<name>_norm`; `g_<name>` of each of `generator_terms`;
    and `g_total d_total`, what was minimised.

    Raises:
        ValueError: see `AdversarialLoss`, `GeneratorTerms` and `TranslationMethod`; a negative lambda.

    Source: Isola et al. 2017, equation 4.
    """

    networks = {
        "generator": NetworkSpec("generator", reads=("A",), writes="B"),
        "discriminator": NetworkSpec("discriminator", reads=("A", "B")),
    }
    references = {"fake_B": "real_B"}
    counts_valid_pixels = True

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        adversarial: AdversarialObjective | None = None,
        gan_mode: AdversarialMode | None = None,
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_l1: NonNegativeFloat = 100.0,
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
        inference_mode: InferenceMode = "paper",
    ) -> None:
        super().__init__(
            optimizer=optimizer, optimizer_d=optimizer_d, optimizers=optimizers, schedule=schedule,
            accumulate=accumulate, clip_g=clip_g, clip_d=clip_d, d_steps_per_g_step=d_steps_per_g_step,
            discriminator_start=discriminator_start, on_nonfinite=on_nonfinite, inference_mode=inference_mode,
        )  # fmt: skip
        if lambda_l1 < 0:
            raise ValueError(f"lambda_l1 must not be negative, got {lambda_l1}")
        self.generator = generator
        self.discriminator = discriminator
        self.lambda_l1 = lambda_l1
        self.adversarial = AdversarialLoss(
            adversarial=adversarial,
            gan_mode=gan_mode,
            default_mode="vanilla",
            real_label=real_label,
            fake_label=fake_label,
            penalties=penalties,
            augment=discriminator_augment,
            unpenalized_critic=unpenalized_critic,
            critics=self.discriminators,
        )
        self.generator_terms = GeneratorTerms(
            generator_terms, own=("gan", "l1", "total"), has_pairs=True, discriminators=self.discriminators
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
        parts = list(zip(batches, fakes, weights, strict=True))
        terms: Terms = {}
        if update_d:
            losses = [Loss(partial(self._d_terms, b, fake), self.discriminators, w, "d_") for b, fake, w in parts]
            d = self.compute_gradients(sides["d"], losses)
            # The generator learns from the discriminator as it is after its step.
            self.step_optimizers(d, batches=batches, last=not update_g)
            terms |= {f"d_{name}": value for name, value in mean_terms(d.terms, weights).items()}
        if update_g:
            losses = [Loss(partial(self.g_terms, b, fake, update_d), self.generators, w, "g_") for b, fake, w in parts]
            g = self.compute_gradients(sides["g"], losses)
            self.step_optimizers(g, batches=batches)
            terms |= {f"g_{name}": value for name, value in mean_terms(g.terms, weights).items()}
        return terms

    def _d_terms(self, batch: Batch, fake_B: Tensor) -> Terms:
        real_A, real_B = batch["A"], batch["B"]
        real_AB, fake_AB = torch.cat([real_A, real_B], dim=1), torch.cat([real_A, fake_B.detach()], dim=1)
        loss = self.adversarial.discriminator(
            self.discriminator, real_AB, fake_AB, fake_first=True, step=self.d_steps,
            condition_channels=real_A.shape[1],
        )  # fmt: skip
        self.last_step.logits["discriminator"] = loss.real, loss.fake
        return loss.terms

    def g_terms(self, batch: Batch, fake_B: Tensor, adversarial: bool) -> Terms:
        """The generator's terms over a batch, with their weighted sum `total`; a method of one more term adds to it."""
        real_A, real_B = batch["A"], batch["B"]
        l1 = valid_l1(fake_B, real_B, batch.get("valid"))
        terms = {"l1": l1, "total": self.lambda_l1 * l1}
        images = StepImages(source=real_A, fake=fake_B, real=real_B)
        if adversarial:
            real_AB, fake_AB = torch.cat([real_A, real_B], dim=1), torch.cat([real_A, fake_B], dim=1)
            features = self.generator_terms.need_features(self.g_steps)
            gan = self.adversarial.generator(
                self.discriminator, real_AB, fake_AB, features=features, condition_channels=real_A.shape[1]
            )
            images = gan.with_features(images)
            terms = {"gan": gan.term, "l1": l1, "total": gan.term + self.lambda_l1 * l1}
        return self.generator_terms.add_to(terms, images, self.g_steps)


def valid_l1(image: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """The mean absolute difference, B C H W, at the pixels where `valid`, B 1 H W, is 1; of all without a mask.

    It is the mean of the images' means, so that it does not depend on how a batch is divided between ranks or steps. An
    image without a valid pixel has 0. The result is a scalar in float32, or in float64 for float64 images.
    """
    if valid is None:
        return F.l1_loss(image, target)
    dtype = torch.promote_types(image.dtype, torch.float32)
    mask = valid.to(dtype).expand_as(image)
    difference = ((image - target).abs().to(dtype) * mask).flatten(1).sum(dim=1)
    return (difference / mask.flatten(1).sum(dim=1).clamp_min(1)).mean()
