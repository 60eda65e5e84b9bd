"""CycleGAN: two generators learn from unpaired images, held together by cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.losses import Penalty
from patchlight.methods.base import OptimizerFactory, Role, ScheduleFactory, TranslationMethod, frozen
from patchlight.methods.critic import AdversarialLoss, AdversarialMode
from patchlight.methods.descent import Batch, Loss, Terms, mean_terms, shares
from patchlight.methods.guard import OnNonFinite
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.inference import InferenceMode, inference
from patchlight.networks import Discriminator, Generator


class CycleGAN(TranslationMethod):
    """Two translations and their cycles, each judged in its own domain.

    `generator_ab` maps A to B and `generator_ba` B to A; `discriminator_a` judges images of domain A and
    `discriminator_b` of domain B. In each step both generators move first, then both discriminators, which learn from
    the image pools.

    Logged, before their weights: `g_gan_ab g_gan_ba`; `cycle_a` = |G_ba(G_ab(A)) - A| and `cycle_b`;
    `identity_a` = |G_ba(A) - A|, the identity term of domain A, and `identity_b` = |G_ab(B) - B|; `d_a d_b`, each half
    the sum of its real and fake parts (relativistic: their comparison); for each penalty its value and the norm of the
    gradient it looks at, `d_<name>_a d_<name>_norm_a` and so for b; and `g_total d_total`, what was minimised. The
    identity terms weigh lambda_identity times their domain's lambda and are not computed for 0.

    Raises:
        ValueError: see `AdversarialLoss` and `TranslationMethod`; a negative lambda.

    Source: Zhu et al. 2017, equation 3; section 5.2 for the identity loss.
    """

    roles = {
        "generator_ab": Role("generator", reads=("A",), writes="B"),
        "generator_ba": Role("generator", reads=("B",), writes="A"),
        "discriminator_a": Role("discriminator", reads=("A",)),
        "discriminator_b": Role("discriminator", reads=("B",)),
    }
    references = {"rec_A": "real_A", "rec_B": "real_B"}
    translations = {"fake_B": ("A", "B"), "fake_A": ("B", "A")}
    judged = {"discriminator_a": ("real_A", "fake_A"), "discriminator_b": ("real_B", "fake_B")}
    gallery = (
        (("real_A", "input A"), ("fake_B", "output B"), ("rec_A", "reconstruction")),
        (("real_B", "input B"), ("fake_A", "output A"), ("rec_B", "reconstruction")),
    )

    def __init__(
        self,
        generator_ab: Generator,
        generator_ba: Generator,
        discriminator_a: Discriminator,
        discriminator_b: Discriminator,
        *,
        gan_mode: AdversarialMode = "lsgan",
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_a: float = 10.0,
        lambda_b: float = 10.0,
        lambda_identity: float = 0.5,
        pool_size: int = 50,
        pool_seed: int = 0,
        penalties: Mapping[str, Penalty] | None = None,
        unpenalized_critic: bool = False,
        optimizer: OptimizerFactory | None = None,
        optimizer_d: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        accumulate: int = 1,
        clip_g: float | None = None,
        clip_d: float | None = None,
        d_steps_per_g_step: int = 1,
        discriminator_start: int = 0,
        on_nonfinite: OnNonFinite = "stop",
        inference_mode: InferenceMode = "eval",
    ) -> None:
        super().__init__(
            optimizer=optimizer, optimizer_d=optimizer_d, schedule=schedule, accumulate=accumulate, clip_g=clip_g,
            clip_d=clip_d, d_steps_per_g_step=d_steps_per_g_step, discriminator_start=discriminator_start,
            on_nonfinite=on_nonfinite, inference_mode=inference_mode,
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
            gan_mode=gan_mode,
            real_label=real_label,
            fake_label=fake_label,
            penalties=penalties,
            unpenalized_critic=unpenalized_critic,
            critics=self.discriminators,
        )

    @property
    def generators(self) -> tuple[Generator, ...]:
        return self.generator_ab, self.generator_ba

    @property
    def discriminators(self) -> tuple[Discriminator, ...]:
        # In this order the parameters lie in the optimizer as in the reference code's, D_A (which judges B) first.
        return self.discriminator_b, self.discriminator_a

    @property
    def boundary(self) -> float | None:
        return self.adversarial.boundary

    @property
    def pools(self) -> Mapping[str, ImagePool]:
        return {"a": self.pool_a, "b": self.pool_b}

    def optimise(self, batches: Sequence[Batch], *, move_g: bool, move_d: bool) -> Terms:
        optimizer_g, optimizer_d = self.gan_optimizers()
        weights = shares(batches)
        terms: Terms = {}
        fakes: list[tuple[Tensor, Tensor]] = []
        if move_g:
            losses = [
                Loss(partial(self._g_terms, batch, move_d, fakes), self.generators, weight)
                for batch, weight in zip(batches, weights, strict=True)
            ]
            with frozen(*self.discriminators):
                found = self.descend(optimizer_g, self.generators, losses, batches, self.clip_g)
            terms |= mean_terms(found, weights)
            terms["g_total"] = terms.pop("total")
        else:
            with torch.no_grad():
                fakes = [(self.generator_ab(batch["A"]), self.generator_ba(batch["B"])) for batch in batches]
        (real_A, real_B), (fake_B, fake_A) = (batches[-1]["A"], batches[-1]["B"]), fakes[-1]
        self.observed.images = {"fake_A": fake_A, "real_A": real_A, "fake_B": fake_B, "real_B": real_B}
        if move_d:
            # D_b, then D_a, of each batch: the order in which the pools are asked, and in which one's activations are
            # freed before the other's are made.
            losses = []
            for batch, (fake_B, fake_A), weight in zip(batches, fakes, weights, strict=True):
                for letter, critic, pool, real, fake in (
                    ("b", self.discriminator_b, self.pool_b, batch["B"], fake_B),
                    ("a", self.discriminator_a, self.pool_a, batch["A"], fake_A),
                ):
                    compute = partial(self._d_terms, f"discriminator_{letter}", critic, pool, real, fake)
                    losses.append(Loss(compute, [critic], weight, f"d_{letter} "))
            found = self.descend(optimizer_d, self.discriminators, losses, batches, self.clip_d)
            terms |= self._name_d_terms(mean_terms(found[1::2], weights), mean_terms(found[::2], weights))
        return terms

    def _g_terms(self, batch: Batch, adversarial: bool, fakes: list[tuple[Tensor, Tensor]]) -> Terms:
        """The generators' terms over one batch; its generated images are put into `fakes`, for the discriminators."""
        real_A, real_B = batch["A"], batch["B"]
        fake_B = self.generator_ab(real_A)
        rec_A = self.generator_ba(fake_B)
        fake_A = self.generator_ba(real_B)
        rec_B = self.generator_ab(fake_A)
        fakes.append((fake_B.detach(), fake_A.detach()))

        terms = self._identity_terms(real_A, real_B)
        terms["cycle_a"] = F.l1_loss(rec_A, real_A)
        terms["cycle_b"] = F.l1_loss(rec_B, real_B)
        total: Tensor | float = 0.0
        if adversarial:
            terms["g_gan_ab"] = self.adversarial.generator(self.discriminator_b, real_B, fake_B)
            terms["g_gan_ba"] = self.adversarial.generator(self.discriminator_a, real_A, fake_A)
            total = terms["g_gan_ab"] + terms["g_gan_ba"]
        terms["total"] = (
            total
            + self.lambda_a * (terms["cycle_a"] + self.lambda_identity * terms["identity_a"])
            + self.lambda_b * (terms["cycle_b"] + self.lambda_identity * terms["identity_b"])
        )
        return terms

    def _d_terms(self, name: str, critic: nn.Module, pool: ImagePool, real: Tensor, fake: Tensor) -> Terms:
        terms, self.observed.logits[name] = self.adversarial.discriminator(
            critic, real, pool.query(fake), fake_first=False, step=self.d_steps
        )
        return terms

    @staticmethod
    def _name_d_terms(d_a: Terms, d_b: Terms) -> Terms:
        terms: Terms = {}
        for letter, d in (("a", d_a), ("b", d_b)):
            terms[f"d_{letter}"] = d["pair"] if "pair" in d else 0.5 * (d["real"] + d["fake"])
            for name, value in d.items():
                if name not in ("pair", "real", "fake", "total"):
                    terms[f"d_{name}_{letter}"] = value
        terms["d_total"] = d_a["total"] + d_b["total"]
        return terms

    def _identity_terms(self, real_A: Tensor, real_B: Tensor) -> dict[str, Tensor]:
        if self.lambda_identity == 0:
            return {"identity_a": real_A.new_zeros(()), "identity_b": real_B.new_zeros(())}
        identity_b = F.l1_loss(self.generator_ab(real_B), real_B)
        identity_a = F.l1_loss(self.generator_ba(real_A), real_A)
        return {"identity_a": identity_a, "identity_b": identity_b}

    def judge(self, images: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        critics = {"discriminator_a": self.discriminator_a, "discriminator_b": self.discriminator_b}
        with inference(*self.discriminators, mode="paper"):
            return {
                name: (critics[name](images[real]), critics[name](images[fake].to(images[real].dtype)))
                for name, (real, fake) in self.judged.items()
            }

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        real_A, real_B = batch["A"], batch["B"]
        with inference(*self.generators, mode=self.inference_mode, noise_seed=noise_seed):
            fake_B, fake_A = self.generator_ab(real_A), self.generator_ba(real_B)
            rec_A, rec_B = self.generator_ba(fake_B), self.generator_ab(fake_A)
        return {
            "real_A": real_A, "fake_B": fake_B, "rec_A": rec_A,
            "real_B": real_B, "fake_A": fake_A, "rec_B": rec_B,
        }  # fmt: skip

    def rank_state(self) -> dict[str, Any]:
        return {**super().rank_state(), "pools": {"a": self.pool_a.state_dict(), "b": self.pool_b.state_dict()}}

    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        super().load_rank_state(state)
        self.pool_a.load_state_dict(state["pools"]["a"])
        self.pool_b.load_state_dict(state["pools"]["b"])

    def begin_on_rank(self, rank: int) -> None:
        super().begin_on_rank(rank)
        for pool in (self.pool_a, self.pool_b):
            pool.begin_on_rank(rank)
