"""Adversarial objectives over patch maps: what a discriminator and a generator minimise of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

GANMode = Literal["lsgan", "vanilla", "wgangp", "hinge", "nonsaturating"]

AdversarialMode = GANMode | Literal["relativistic"]

LABELLED: frozenset[str] = frozenset({"lsgan", "vanilla"})
"""The modes that compare the map with a label value; the others have none."""

Prediction = Tensor | Sequence[Tensor]
"""The output of a discriminator: one map of logits, B 1 h w, or one for each of its scales."""


class AdversarialObjective(nn.Module, ABC):
    """An adversarial objective: a discriminator's side, a generator's side and a decision threshold.

    A class of one's own defines both sides for one map of logits, B 1 h w. Over several maps, those of a discriminator
    with several scales, each term is the sum of its values on the maps, as in pix2pixHD, with a weight for each if they
    have weights.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
    equation 3, for the sum.
    """

    threshold: float | None = None
    """The logit above which a patch counts as real; None where logits have a meaning in comparison only."""
    needs_real: bool = False
    """Whether the generator's side looks at the map of real images, too, which costs a pass of the discriminator."""
    needs_penalty: bool = False
    """Whether the discriminator diverges without a penalty on its gradient."""

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss on a map of real and one of generated images: named scalars, `total` among them."""

    @abstractmethod
    def generator_term(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """The generator's loss, a scalar; `real` is None unless `needs_real`."""

    def discriminator(
        self, real: Prediction, fake: Prediction, weights: Sequence[float] | None = None
    ) -> dict[str, Tensor]:
        """The terms of `discriminator_terms`, summed over the maps."""
        found = [self.discriminator_terms(r, f) for r, f in zip(_each(real), _each(fake), strict=True)]
        return {name: _weighted_sum([terms[name] for terms in found], weights) for name in found[0]}

    def generator(self, fake: Prediction, real: Prediction | None, weights: Sequence[float] | None = None) -> Tensor:
        """The value of `generator_term`, summed over the maps."""
        fakes = _each(fake)
        reals = [None] * len(fakes) if real is None else _each(real)
        return _weighted_sum([self.generator_term(f, r) for f, r in zip(fakes, reals, strict=True)], weights)


class GANLoss(AdversarialObjective):
    """The adversarial loss, averaged over all patches of a map of logits.

    With D the map of logits (any shape, usually (B, 1, h, w)) and the label expanded to its size:

    - `lsgan`: mean (D - label)^2 (Mao et al. 2017, equation 9)
    - `vanilla`: binary cross-entropy of sigmoid(D) with the label (Goodfellow et al. 2014, equation 1; a generator
      that asks for the real label gets the non-saturating form of section 3)
    - `wgangp`: -mean D for real, mean D for fake (Gulrajani et al. 2017, equation 3, whose penalty is
      `gradient_penalty`)
    - `hinge`: mean max(0, 1 - D) for real, mean max(0, 1 + D) for fake; -mean D for a generator
      (Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17)
    - `nonsaturating`: mean softplus(-D) for real, mean softplus(D) for fake

    The result is a scalar in float32, or in float64 for a float64 map. A discriminator minimises half the sum of its
    terms `real` and `fake` (Isola et al. 2017, section 3.3).

    Raises:
        ValueError: an unknown mode, or label values for a mode that has no labels.
    """

    real_label: Tensor
    fake_label: Tensor

    def __init__(self, gan_mode: GANMode, real_label: float = 1.0, fake_label: float = 0.0) -> None:
        super().__init__()
        if gan_mode not in get_args(GANMode):
            raise ValueError(f"gan_mode must be one of {', '.join(get_args(GANMode))}, got {gan_mode!r}")
        if gan_mode not in LABELLED and (real_label, fake_label) != (1.0, 0.0):
            raise ValueError(
                f"real_label and fake_label have no meaning for gan_mode={gan_mode!r}: "
                f"leave them at 1.0 and 0.0, or use one of {', '.join(sorted(LABELLED))}"
            )
        self.gan_mode = gan_mode
        self.register_buffer("real_label", torch.tensor(float(real_label)))
        self.register_buffer("fake_label", torch.tensor(float(fake_label)))
        self.needs_penalty = gan_mode == "wgangp"
        if gan_mode != "wgangp":
            self.threshold = (real_label + fake_label) / 2 if gan_mode == "lsgan" else 0.0

    def forward(self, prediction: Prediction, target_is_real: bool, for_generator: bool = False) -> Tensor:
        """The loss of calling `prediction` real or fake; the sum over the maps, where it is several.

        `for_generator` says that the networks behind it are being taught to be taken for real, which only `hinge`
        treats differently.
        """
        return reduce(add, [self._of_map(logits, target_is_real, for_generator) for logits in _each(prediction)])

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        term_real, term_fake = self(real, True), self(fake, False)
        return {"real": term_real, "fake": term_fake, "total": 0.5 * (term_fake + term_real)}

    def generator_term(self, fake: Tensor, real: Tensor | None) -> Tensor:
        term: Tensor = self(fake, True, for_generator=True)
        return term

    def extra_repr(self) -> str:
        return f"gan_mode={self.gan_mode}"

    def _of_map(self, prediction: Tensor, target_is_real: bool, for_generator: bool) -> Tensor:
        logits = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        match self.gan_mode:
            case "lsgan":
                return F.mse_loss(logits, self._target(logits, target_is_real))
            case "vanilla":
                return F.binary_cross_entropy_with_logits(logits, self._target(logits, target_is_real))
            case "wgangp":
                return -logits.mean() if target_is_real else logits.mean()
            case "hinge":
                margin = -logits if target_is_real else logits
                return margin.mean() if for_generator else F.relu(1.0 + margin).mean()
            case "nonsaturating":
                return F.softplus(-logits if target_is_real else logits).mean()
        raise AssertionError(self.gan_mode)

    def _target(self, logits: Tensor, target_is_real: bool) -> Tensor:
        label = self.real_label if target_is_real else self.fake_label
        return label.to(logits).expand_as(logits)


class RelativisticLoss(AdversarialObjective):
    """The relativistic pairing loss, mean softplus(D(b) - D(a)) over all patches: a is to look more real than b.

    A discriminator compares a real map with a generated one, a generator the other way round. Two maps of equal shape
    give a scalar in float32, or in float64 for float64 maps. The discriminator's term is `pair`; it is not halved.

    Source: Jolicoeur-Martineau 2019, "The relativistic discriminator"; Huang et al. 2024, equation 2.
    """

    needs_real = True

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        dtype = torch.promote_types(a.dtype, torch.float32)
        return F.softplus(b.to(dtype) - a.to(dtype)).mean()

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        pair = self(real, fake)
        return {"pair": pair, "total": pair}

    def generator_term(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None
        term: Tensor = self(fake, real)
        return term


def make_objective(gan_mode: AdversarialMode, real_label: float = 1.0, fake_label: float = 0.0) -> AdversarialObjective:
    """The objective that a `gan_mode` names.

    Raises:
        ValueError: an unknown mode, or label values for a mode that has no labels.
    """
    if gan_mode != "relativistic":
        return GANLoss(gan_mode, real_label=real_label, fake_label=fake_label)
    if (real_label, fake_label) != (1.0, 0.0):
        raise ValueError("real_label and fake_label have no meaning for gan_mode=relativistic: leave them out")
    return RelativisticLoss()


def _each(maps: Prediction) -> Sequence[Tensor]:
    return (maps,) if isinstance(maps, Tensor) else maps


def _weighted_sum(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    if weights is None:
        return reduce(add, values)
    return reduce(add, [weight * value for weight, value in zip(weights, values, strict=True)])
