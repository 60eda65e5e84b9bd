"""An adversarial objective: least squares between the logits of one side and the average of the other side's."""

from __future__ import annotations

from pydantic import PositiveFloat
from torch import Tensor

from patchlight.losses import AdversarialObjective


class RelativisticAverage(AdversarialObjective):
    """Real patches are to lie `margin` above the average generated one, and generated ones as far below the real.

    The generator wants the opposite. Logits have a meaning in comparison only, so that there is no threshold.

    Source: Jolicoeur-Martineau 2019, "The relativistic discriminator", RaLSGAN.
    """

    needs_real = True

    def __init__(self, margin: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        term = self._gap(real, fake)
        return {"pair": term, "total": term}

    def generator_term(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None
        return self._gap(fake, real)

    def _gap(self, above: Tensor, below: Tensor) -> Tensor:
        upper = (above - below.mean() - self.margin).square().mean()
        lower = (below - above.mean() + self.margin).square().mean()
        return (upper + lower) / 2
