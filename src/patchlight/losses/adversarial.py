"""Adversarial losses over patch maps."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

GANMode = Literal["lsgan", "vanilla", "wgangp", "hinge", "nonsaturating"]

LABELLED: frozenset[str] = frozenset({"lsgan", "vanilla"})
"""The modes that compare the map with a label value; the others have none."""


class GANLoss(nn.Module):
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

    The result is a scalar in float32, or in float64 for a float64 map.

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

    def forward(self, prediction: Tensor, target_is_real: bool, for_generator: bool = False) -> Tensor:
        """The loss of calling `prediction` real or fake.

        `for_generator` says that the networks behind it are being taught to be taken for real, which only `hinge`
        treats differently.
        """
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


class RelativisticLoss(nn.Module):
    """The relativistic pairing loss, mean softplus(D(b) - D(a)) over all patches: a is to look more real than b.

    A discriminator compares a real map with a generated one, a generator the other way round. Two maps of equal shape
    give a scalar in float32, or in float64 for float64 maps.

    Source: Jolicoeur-Martineau 2019, "The relativistic discriminator"; Huang et al. 2024, equation 2.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        dtype = torch.promote_types(a.dtype, torch.float32)
        return F.softplus(b.to(dtype) - a.to(dtype)).mean()
