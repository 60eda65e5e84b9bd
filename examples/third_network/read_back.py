"""pix2pix with a third network, which learns to read the input back from the output, and its own optimizer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn.functional import l1_loss

from patchlight.methods import Batch, Loss, NetworkSpec, Pix2Pix, Terms, batch_weights, mean_terms
from patchlight.networks import Generator


class ReadBack(Pix2Pix):
    """The reader minimises |R(B) - A| over real pairs, and the generator lambda_read |R(G(A)) - A| beside its own."""

    networks = {
        **Pix2Pix.networks, "reader": NetworkSpec("auxiliary", ("B",), "A", config="reader", optimizer="reader"),
    }  # fmt: skip

    def __init__(self, *, reader: Generator, lambda_read: NonNegativeFloat = 10.0, **pix2pix: Any) -> None:
        super().__init__(**pix2pix)
        self.reader = reader
        self.lambda_read = lambda_read

    def optimise(self, batches: Sequence[Batch], *, update_g: bool, update_d: bool) -> Terms:
        pairs = list(zip(batches, batch_weights(batches), strict=True))
        losses = [Loss(partial(self.read, b, b["B"]), [self.reader], weight) for b, weight in pairs]
        found = self.compute_gradients(self.sides()["reader"], losses)
        self.step_optimizers(found, batches=batches, last=False)
        reader = mean_terms(found.terms, [weight for _, weight in pairs])["total"]
        return {"reader": reader, **super().optimise(batches, update_g=update_g, update_d=update_d)}

    def read(self, batch: Batch, image: Tensor) -> Terms:
        return {"total": l1_loss(self.reader(image), batch["A"])}

    def g_terms(self, batch: Batch, fake_B: Tensor, adversarial: bool) -> Terms:
        terms, read = super().g_terms(batch, fake_B, adversarial), self.read(batch, fake_B)["total"]
        return {**terms, "read": read, "total": terms["total"] + self.lambda_read * read}
