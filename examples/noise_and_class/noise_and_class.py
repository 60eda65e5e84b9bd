"""pix2pix whose generator reads noise and a class beside the image."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from patchlight.methods import Batch, NetworkSpec, Pix2Pix
from patchlight.networks import Condition, Generator, ResNetGenerator


class NoiseAndClass(Generator):
    """A ResNet generator that gets `z` and an embedding of the class as further channels of the image."""

    def __init__(
        self, in_channels: int, out_channels: int, ngf: PositiveInt = 64, n_classes: PositiveInt = 2,
        z_channels: PositiveInt = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conditions = {"z": Condition((z_channels,), noise=True), "class_id": Condition(classes=n_classes)}
        self.embedding = nn.Embedding(n_classes, z_channels)
        self.body = ResNetGenerator(in_channels + 2 * z_channels, out_channels, n_blocks=6, ngf=ngf)
        self.size_multiple = self.body.size_multiple

    def forward(self, image: Tensor, z: Tensor, class_id: Tensor) -> Tensor:
        values = torch.cat([z, self.embedding(class_id)], dim=1).to(image)
        maps = values[:, :, None, None].expand(-1, -1, *image.shape[-2:])
        result: Tensor = self.body(torch.cat([image, maps], dim=1))
        return result


class Pix2PixOfClasses(Pix2Pix):
    """The class of a pair is whether its photo is bright; a data source may as well give it, as a key of the batch."""

    networks = {**Pix2Pix.networks, "generator": NetworkSpec("generator", ("A", "z", "class_id"), "B")}

    def with_conditions(self, batch: Batch, noise_seed: int | None = None) -> Batch:
        bright = batch["B"].float().mean(dim=(1, 2, 3)) > 0
        return super().with_conditions({**batch, "class_id": bright.long()}, noise_seed)
