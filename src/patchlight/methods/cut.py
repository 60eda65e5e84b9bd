"""CUT: one generator learns from unpaired images, held to its input by a contrastive loss between patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from patchlight.losses import (
    AdversarialMode,
    AdversarialObjective,
    GeneratorTerm,
    Negatives,
    PatchNCELoss,
    Penalty,
    StepImages,
)
from patchlight.methods.adversarial import AdversarialLoss
from patchlight.methods.base import OptimizerFactory, ScheduleFactory, TranslationMethod
from patchlight.methods.contrast import Contrast, ContrastiveStep
from patchlight.methods.generator_terms import GeneratorTerms
from patchlight.methods.guard import OnNonFinite
from patchlight.methods.inference import InferenceMode, inference
from patchlight.methods.networks import NetworkSpec
from patchlight.methods.optimization import Loss, Terms, batch_weights, mean_terms, merge_terms
from patchlight.methods.state import Batch
from patchlight.networks import Discriminator, Generator, PatchSampleMLP, draw_patch_ids, feature_channels

NCE_LAYERS = (0, 4, 8, 12, 16)
"""The padded image, both halvings and two residual blocks of an antialiased ResNet generator."""


class CUT(TranslationMethod):
    """One translation in one direction: minimises lambda_gan GAN(D(G(A))) + lambda_nce NCE(A, G(A)).

    `generator` maps A to B, `discriminator` judges images of domain B, and `sampler` makes vectors of patches in the
    generator's features behind `nce_layers` (`PatchSample`, `PatchSampleMLP`). NCE is the mean of `PatchNCELoss` over
    these layers: each of `num_patches` patches of the output is to be more similar to the patch of the input at its
    place than to others. With `nce_identity` it is the mean of NCE(A, G(A)) and NCE(B, G(B)). With `flip_equivariance`
    the generator gets mirrored images in every second step on average, whose features are compared with those of the
    images as they are. In each step the discriminator moves first, then generator and sampler together; the sampler
    has an optimizer of its own, "sampler".

    Logged, before their weights: `g_gan g_nce g_nce_identity d_real d_fake` (relativistic: `d_pair`); for each penalty
    its value and the norm of the gradient it looks at, `d_<name> d_<name>_norm`; `g_<name>` of each of
    `generator_terms`; and `g_total d_total`, what was minimised. A term with a lambda of 0 is not computed.

    In small batches A and B share a pass of the generator, and so do their outputs to be encoded. Unless batch norm or
    dropout would make a difference of it, or images are mirrored, the features of the input are those of the pass that
    translates it.

    Raises:
        ValueError: see `AdversarialLoss`, `GeneratorTerms`, `PatchNCELoss` and `TranslationMethod`; a negative lambda,
            no patches, or a sampler of other layers.

    Source: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", equations 2 to 5.
    """

    networks = {
        "generator": NetworkSpec("generator", reads=("A",), writes="B"),
        "discriminator": NetworkSpec("discriminator", reads=("B",)),
        "sampler": NetworkSpec("auxiliary", config="sampler", optimizer="sampler"),
    }

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        sampler: nn.Module,
        *,
        adversarial: AdversarialObjective | None = None,
        gan_mode: AdversarialMode | None = None,
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_gan: NonNegativeFloat = 1.0,
        lambda_nce: NonNegativeFloat = 1.0,
        nce_identity: bool = True,
        nce_layers: Sequence[NonNegativeInt] = NCE_LAYERS,
        num_patches: PositiveInt = 256,
        temperature: PositiveFloat = 0.07,
        negatives: Negatives = "image",
        flip_equivariance: bool = False,
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
        for name, value in (("lambda_gan", lambda_gan), ("lambda_nce", lambda_nce)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if isinstance(num_patches, bool) or num_patches < 1:
            raise ValueError(f"num_patches must be an integer of at least 1, got {num_patches!r}")
        layers = sorted(set(nce_layers))
        if isinstance(sampler, PatchSampleMLP) and len(sampler.mlps) != len(layers):
            raise ValueError(f"nce_layers={list(nce_layers)}: the sampler has perceptrons for {len(sampler.mlps)}")
        self.generator = generator
        self.discriminator = discriminator
        self.sampler = sampler if lambda_nce > 0 else sampler.requires_grad_(False)
        self.lambda_gan = lambda_gan
        self.lambda_nce = lambda_nce
        self.nce_identity = nce_identity and lambda_nce > 0
        self.nce_layers = layers
        self.num_patches = num_patches
        self.flip_equivariance = flip_equivariance
        self.patch_nce = PatchNCELoss(temperature, negatives)
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
        own = ("gan", "nce", "nce_identity", "total")
        self.generator_terms = GeneratorTerms(
            generator_terms, own=own, has_pairs=False, discriminators=self.discriminators
        )

    @classmethod
    def network_arguments(
        cls, name: str, settings: Mapping[str, Any], channels: Mapping[str, int], other: Callable[[str], nn.Module]
    ) -> dict[str, Any]:
        if name != "sampler":
            return {}
        if channels["A"] != channels["B"]:
            raise ValueError(
                f"generator makes {channels['B']} channels of {channels['A']} and has to encode both images: give "
                f"data.channels_a and data.channels_b the same number"
            )
        generator, layers = other("generator"), settings.get("nce_layers", NCE_LAYERS)
        assert isinstance(generator, Generator)
        try:
            return {"in_channels": feature_channels(generator, channels["A"], layers)}
        except ValueError as error:
            raise ValueError(f"nce_layers={list(layers)}: {error}") from None

    @property
    def boundary(self) -> float | None:
        return self.adversarial.objective.threshold

    @property
    def gallery(self) -> Sequence[Sequence[tuple[str, str]]]:
        identity = [(("real_B", "image of B"), ("idt_B", "identity"))] if self.nce_identity else []
        return ((("real_A", "input"), ("fake_B", "output")), *identity)

    def draw_patch_ids(self, sizes: Sequence[int]) -> list[Tensor]:
        """Positions in feature maps that have so many, for each map, from this rank's random numbers.

        It is called in each step once for every contrastive term.
        """
        return draw_patch_ids(sizes, self.num_patches)

    def draw_flip(self) -> bool:
        """Whether the generator's inputs are mirrored in this step, from this rank's random numbers."""
        return bool(torch.rand(()) < 0.5)

    def optimise(self, batches: Sequence[Batch], *, update_g: bool, update_d: bool) -> Terms:
        sides = self.sides()
        weights = batch_weights(batches)
        step = self._begin_step(keep=len(batches) == 1)
        with torch.set_grad_enabled(update_g):
            translated = [step.translate(batch, self._shared_terms(step, batch, update_g)) for batch in batches]
        fakes = [contrasts[0].target for contrasts in translated]
        self.last_step.images = {"fake_B": fakes[-1].detach(), "real_B": batches[-1]["B"]}
        terms: Terms = {}
        if update_d:
            losses = [
                Loss(partial(self._d_terms, batch, fake), self.discriminators, weight, "d_")
                for batch, fake, weight in zip(batches, fakes, weights, strict=True)
            ]
            d = self.compute_gradients(sides["d"], losses)
            # The generator learns from the discriminator as it is after its step.
            self.step_optimizers(d, batches=batches, last=not update_g)
            terms |= {f"d_{name}": value for name, value in mean_terms(d.terms, weights).items()}
        if update_g:
            moved = [self.generator, self.sampler] if "sampler" in sides else [self.generator]
            per_batch = [
                [Loss(compute, moved, weight, "g_") for compute in self._g_losses(step, batch, contrasts, update_d)]
                for batch, contrasts, weight in zip(batches, translated, weights, strict=True)
            ]
            side = sides["g"] + sides["sampler"] if "sampler" in sides else sides["g"]
            g = self.compute_gradients(side, [loss for losses in per_batch for loss in losses])
            self.step_optimizers(g, batches=batches)
            computed = iter(g.terms)
            g_terms = [merge_terms(list(islice(computed, len(losses)))) for losses in per_batch]
            terms |= {f"g_{name}": value for name, value in mean_terms(g_terms, weights).items()}
        return terms

    def _begin_step(self, *, keep: bool) -> ContrastiveStep:
        return ContrastiveStep(
            self,
            self.sampler,
            self.patch_nce,
            layers=self.nce_layers if self.lambda_nce > 0 else (),
            num_patches=self.num_patches,
            draw_patch_ids=self.draw_patch_ids,
            mirrored=self.flip_equivariance and self.draw_flip(),
            keep=keep,
        )

    def _shared_terms(self, step: ContrastiveStep, batch: Batch, update_g: bool) -> list[str]:
        """The terms whose images share the pass that translates A."""
        shared = update_g and self.nce_identity and step.shares_pass(batch)
        return ["nce", "nce_identity"] if shared else ["nce"]

    def _d_terms(self, batch: Batch, fake_B: Tensor) -> Terms:
        loss = self.adversarial.discriminator(
            self.discriminator, batch["B"], fake_B, fake_first=True, step=self.d_steps
        )
        self.last_step.logits["discriminator"] = loss.real, loss.fake
        return loss.terms

    def _g_losses(
        self, step: ContrastiveStep, batch: Batch, contrasts: list[Contrast], adversarial: bool
    ) -> list[Callable[[], Terms]]:
        """What computes the terms over one batch, one backward pass after the other."""
        own = partial(self._g_terms, step, batch, contrasts, adversarial)
        apart = self.nce_identity and len(contrasts) == 1
        return [own, partial(self._identity_terms, step, batch)] if apart else [own]

    def _g_terms(self, step: ContrastiveStep, batch: Batch, contrasts: list[Contrast], adversarial: bool) -> Terms:
        fake_B, real_B = contrasts[0].target, batch["B"]
        images = StepImages(source=step.source(contrasts[0]), fake=fake_B, real=real_B)
        terms: Terms = {"total": 0 * fake_B.sum()}
        features = adversarial and self.generator_terms.need_features(self.g_steps)
        if adversarial and (self.lambda_gan > 0 or features):
            gan = self.adversarial.generator(self.discriminator, real_B, fake_B, features=features)
            images = gan.with_features(images)
            if self.lambda_gan > 0:
                terms = {"gan": gan.term, "total": self.lambda_gan * gan.term}
        # The discriminator, of which only a gradient is left, is through with before the images are encoded.
        if self.lambda_nce > 0:
            terms = merge_terms([terms, self._weighted(step, contrasts)])
        return self.generator_terms.add_to(terms, images, self.g_steps)

    def _identity_terms(self, step: ContrastiveStep, batch: Batch) -> Terms:
        """The term of images of B, in a pass of their own."""
        return self._weighted(step, step.translate(batch, ["nce_identity"]))

    def _weighted(self, step: ContrastiveStep, contrasts: list[Contrast]) -> Terms:
        """The contrastive terms and their part in the loss."""
        terms = step.terms(contrasts)
        weight = self.lambda_nce * (0.5 if self.nce_identity else 1.0)
        return {**terms, "total": weight * torch.stack(list(terms.values())).sum()}

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        images = super().translate(batch, noise_seed)
        if self.nce_identity:
            with inference(self.generator, mode=self.inference_mode, noise_seed=noise_seed):
                images["idt_B"] = self.fake("generator", {**self.with_conditions(batch, noise_seed), "A": batch["B"]})
        return images
