"""CycleGAN: two generators learn from unpaired images, held together by cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.losses import AdversarialMode, AdversarialObjective, GeneratorTerm, Penalty, StepImages
from patchlight.methods.adversarial import AdversarialLoss
from patchlight.methods.base import OptimizerFactory, ScheduleFactory, TranslationMethod
from patchlight.methods.generator_terms import GeneratorTerms
from patchlight.methods.guard import OnNonFinite
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.inference import InferenceMode, inference
from patchlight.methods.networks import NetworkSpec
from patchlight.methods.optimization import Gradients, Loss, Terms, batch_weights, mean_terms, merge_terms
from patchlight.methods.passes import merges_passes
from patchlight.methods.state import Batch
from patchlight.networks import Discriminator, Generator

Domain = Literal["a", "b"]

_OTHER: Mapping[Domain, Domain] = {"a": "b", "b": "a"}

WAYS: Mapping[Domain, tuple[str, str, str]] = {"a": ("A", "B", "generator_ab"), "b": ("B", "A", "generator_ba")}
"""The domain of an image, the other domain and the generator that goes there."""


class CycleGAN(TranslationMethod):
    """Two translations and their cycles, each judged in its own domain.

    `generator_ab` maps A to B and `generator_ba` B to A; `discriminator_a` judges images of domain A and
    `discriminator_b` of domain B. In each step the gradients of both generators come first, then those of both
    discriminators, which learn from the image pools; then all four move.

    Logged, before their weights: `g_gan_ab g_gan_ba`; `cycle_a` = |G_ba(G_ab(A)) - A| and `cycle_b`;
    `identity_a` = |G_ba(A) - A|, the identity term of domain A, and `identity_b` = |G_ab(B) - B|; `d_a d_b`, each half
    the sum of its real and fake parts (relativistic: their comparison); for each penalty its value and the norm of the
    gradient it looks at, `d_<name>_a d_<name>_norm_a` and so for b; `g_<name>_ab g_<name>_ba` of each of
    `generator_terms`; and `g_total d_total`, what was minimised. The identity terms weigh lambda_identity times their
    domain's lambda and are not computed for 0. In small batches they share a pass of their generator with the
    translation, unless batch norm or dropout would make a difference of it.

    Raises:
        ValueError: see `AdversarialLoss`, `GeneratorTerms` and `TranslationMethod`; a negative lambda.

    Source: Zhu et al. 2017, equation 3; section 5.2 for the identity loss.
    """

    networks = {
        "generator_ab": NetworkSpec("generator", reads=("A",), writes="B"),
        "generator_ba": NetworkSpec("generator", reads=("B",), writes="A"),
        "discriminator_a": NetworkSpec("discriminator", reads=("A",)),
        "discriminator_b": NetworkSpec("discriminator", reads=("B",)),
    }
    references = {"rec_A": "real_A", "rec_B": "real_B"}

    def __init__(
        self,
        generator_ab: Generator,
        generator_ba: Generator,
        discriminator_a: Discriminator,
        discriminator_b: Discriminator,
        *,
        adversarial: AdversarialObjective | None = None,
        gan_mode: AdversarialMode | None = None,
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_a: NonNegativeFloat = 10.0,
        lambda_b: NonNegativeFloat = 10.0,
        lambda_identity: NonNegativeFloat = 0.5,
        pool_size: NonNegativeInt = 50,
        pool_seed: NonNegativeInt = 0,
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
        for name, value in (("lambda_a", lambda_a), ("lambda_b", lambda_b), ("lambda_identity", lambda_identity)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        self.generator_ab = generator_ab
        self.generator_ba = generator_ba
        self.discriminator_a = discriminator_a
        self.discriminator_b = discriminator_b
        self.lambda_a = lambda_a
        self.lambda_b = lambda_b
        self.lambda_identity = lambda_identity
        self.pool_a = ImagePool(pool_size, seed=2 * pool_seed)
        self.pool_b = ImagePool(pool_size, seed=2 * pool_seed + 1)
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
        self.generator_terms = GeneratorTerms(
            generator_terms, own=("gan", "total"), has_pairs=False, has_cycle=True, discriminators=self.discriminators
        )

    def moved_by(self, optimizer: str) -> dict[str, nn.Module]:
        networks = super().moved_by(optimizer)
        # In this order the parameters lie in the optimizer as in the reference code's, D_A (which judges B) first.
        return dict(reversed(networks.items())) if optimizer == "d" else networks

    @property
    def boundary(self) -> float | None:
        return self.adversarial.objective.threshold

    @property
    def gallery(self) -> Sequence[Sequence[tuple[str, str]]]:
        return (
            (("real_A", "input A"), ("fake_B", "output B"), ("rec_A", "reconstruction")),
            (("real_B", "input B"), ("fake_A", "output A"), ("rec_B", "reconstruction")),
        )

    @property
    def pools(self) -> Mapping[str, ImagePool]:
        return {"a": self.pool_a, "b": self.pool_b}

    def optimise(self, batches: Sequence[Batch], *, update_g: bool, update_d: bool) -> Terms:
        sides = self.sides()
        weights = batch_weights(batches)
        ready: list[Gradients] = []
        terms: Terms = {}
        fakes_A: list[Tensor] = []
        fakes_B: list[Tensor] = []
        if update_g:
            # One cycle after the other, each with its backward pass, so that the features of only one are in memory.
            per_batch = [
                self._g_losses(batch, weight, fakes_A, fakes_B, adversarial=update_d)
                for batch, weight in zip(batches, weights, strict=True)
            ]
            ready.append(self.compute_gradients(sides["g"], [loss for losses in per_batch for loss in losses]))
            computed = iter(ready[-1].terms)
            g_terms = [merge_terms(list(islice(computed, len(losses)))) for losses in per_batch]
            terms |= self._name_g_terms(mean_terms(g_terms, weights))
        else:
            with torch.no_grad():
                for batch in batches:
                    fakes_B.append(self.fake("generator_ab", batch))
                    fakes_A.append(self.fake("generator_ba", batch))
        real_A, real_B = batches[-1]["A"], batches[-1]["B"]
        self.last_step.images = {"fake_A": fakes_A[-1], "real_A": real_A, "fake_B": fakes_B[-1], "real_B": real_B}
        if update_d:
            # D_b, then D_a, of each batch: the order in which the pools are asked, and in which one's activations are
            # freed before the other's are made.
            losses = []
            for batch, fake_A, fake_B, weight in zip(batches, fakes_A, fakes_B, weights, strict=True):
                for letter, critic, pool, real, fake in (
                    ("b", self.discriminator_b, self.pool_b, batch["B"], fake_B),
                    ("a", self.discriminator_a, self.pool_a, batch["A"], fake_A),
                ):
                    compute = partial(self._d_terms, f"discriminator_{letter}", critic, pool, real, fake)
                    losses.append(Loss(compute, [critic], weight, f"d_{letter} "))
            ready.append(self.compute_gradients(sides["d"], losses))
            found = ready[-1].terms
            terms |= self._name_d_terms(mean_terms(found[1::2], weights), mean_terms(found[::2], weights))
        # The discriminators learn from images that were made before the generators moved, so both sides can wait.
        self.step_optimizers(*ready, batches=batches)
        return terms

    def _g_losses(
        self, batch: Batch, weight: float, fakes_A: list[Tensor], fakes_B: list[Tensor], *, adversarial: bool
    ) -> list[Loss]:
        """The generators' losses over one batch; its generated images are added to `fakes_A` and `fakes_B`."""
        ways: tuple[tuple[Domain, Discriminator, list[Tensor]], ...] = (
            ("a", self.discriminator_b, fakes_B),
            ("b", self.discriminator_a, fakes_A),
        )
        losses: list[Loss] = []
        identities: list[Loss] = []
        for domain, critic, fakes in ways:
            own, other, name = WAYS[domain]
            there = self.get_submodule(name)
            merged = self.lambda_identity > 0 and merges_passes(there, batch[own], batch[other])
            cycle = partial(self._cycle_terms, domain, batch, critic, fakes, adversarial, merged)
            losses.append(Loss(cycle, self.generators, weight))
            if self.lambda_identity > 0 and not merged:
                identities.append(Loss(partial(self._identity_pass, _OTHER[domain], batch), [there], weight))
        return losses + identities

    def _cycle_terms(
        self, domain: Domain, batch: Batch, critic: Discriminator, fakes: list[Tensor], adversarial: bool, merged: bool
    ) -> Terms:
        """The terms of one domain's images on their way to the other domain and back.

        If `merged`, the generator gets the other domain's images in the same pass, for its identity term.
        """
        (own, other, there), back = WAYS[domain], WAYS[_OTHER[domain]][-1]
        real, goal = batch[own], batch[other]
        if merged:
            twice = {key: torch.cat([batch[key], batch[key]]) for key in self.networks[there].further}
            fake, same = torch.split(self.fake(there, {own: torch.cat([real, goal]), **twice}), [len(real), len(goal)])
        else:
            fake = self.fake(there, batch)
        fakes.append(fake.detach())
        reconstruction = self.fake(back, {**batch, other: fake})
        cycle = F.l1_loss(reconstruction, real)
        images = StepImages(source=real, fake=fake, real=goal, reconstruction=reconstruction)
        way = f"{domain}{_OTHER[domain]}"
        terms = {f"cycle_{domain}": cycle, "total": self._lambda(domain) * cycle}
        if adversarial:
            features = self.generator_terms.need_features(self.g_steps)
            gan = self.adversarial.generator(critic, goal, fake, features=features)
            images = gan.with_features(images)
            terms[f"g_gan_{way}"] = gan.term
            terms["total"] = gan.term + terms["total"]
        terms = self.generator_terms.add_to(terms, images, self.g_steps, key=f"g_{{}}_{way}")
        return merge_terms([terms, self._identity_terms(_OTHER[domain], same, goal)]) if merged else terms

    def _identity_pass(self, domain: Domain, batch: Batch) -> Terms:
        """The term of images that are in the domain that a generator writes already."""
        read, written, generator = WAYS[_OTHER[domain]]
        real = batch[written]
        return self._identity_terms(domain, self.fake(generator, {**batch, read: real}), real)

    def _identity_terms(self, domain: Domain, same: Tensor, real: Tensor) -> Terms:
        identity = F.l1_loss(same, real)
        return {f"identity_{domain}": identity, "total": self._lambda(domain) * self.lambda_identity * identity}

    def _lambda(self, domain: Domain) -> float:
        return self.lambda_a if domain == "a" else self.lambda_b

    @staticmethod
    def _name_g_terms(terms: Terms) -> Terms:
        nothing = torch.zeros_like(terms["cycle_a"])
        terms_by_name = {"identity_a": nothing, "identity_b": nothing, **terms}
        terms_by_name["g_total"] = terms_by_name.pop("total")
        return terms_by_name

    def _d_terms(self, name: str, critic: Discriminator, pool: ImagePool, real: Tensor, fake: Tensor) -> Terms:
        loss = self.adversarial.discriminator(critic, real, pool.query(fake), fake_first=False, step=self.d_steps)
        self.last_step.logits[name] = loss.real, loss.fake
        return {**loss.terms, "objective": loss.objective}

    def _name_d_terms(self, d_a: Terms, d_b: Terms) -> Terms:
        terms: Terms = {}
        penalties = [key for name in self.adversarial.penalties for key in (name, f"{name}_norm")]
        for letter, d in (("a", d_a), ("b", d_b)):
            terms[f"d_{letter}"] = d["objective"]
            terms |= {f"d_{name}_{letter}": d[name] for name in penalties if name in d}
        terms["d_total"] = d_a["total"] + d_b["total"]
        return terms

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        batch = self.with_conditions(batch, noise_seed)
        with inference(*self.generators, mode=self.inference_mode, noise_seed=noise_seed):
            fake_B, fake_A = self.fake("generator_ab", batch), self.fake("generator_ba", batch)
            rec_A = self.fake("generator_ba", {**batch, "B": fake_B})
            rec_B = self.fake("generator_ab", {**batch, "A": fake_A})
        return {
            "real_A": batch["A"], "fake_B": fake_B, "rec_A": rec_A,
            "real_B": batch["B"], "fake_A": fake_A, "rec_B": rec_B,
        }  # fmt: skip

    def rank_state(self) -> dict[str, Any]:
        keeps = self._saves_pools or self.pool_a.pool_size == 0
        pools = {name: pool.state_dict() for name, pool in self.pools.items()} if keeps else None
        return {**super().rank_state(), "pools": pools}

    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        super().load_rank_state(state)
        for name, pool in self.pools.items():
            if state["pools"] is None:  # they were left out: they begin anew
                pool.seed_rank(self.global_rank)
            else:
                pool.load_state_dict(state["pools"][name])

    def seed_rank(self, rank: int) -> None:
        super().seed_rank(rank)
        for pool in (self.pool_a, self.pool_b):
            pool.seed_rank(rank)
