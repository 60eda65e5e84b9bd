"""Reading pairs as most training scripts do it: Pillow and torchvision's transforms, one image after the other."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.transforms import functional as F  # noqa: N812

LOAD_SIZE, IMAGE_SIZE = 286, 256


class PlainPairs(Dataset[dict[str, Any]]):
    """The side-by-side files of `root/train` as float32 crops in [-1, 1].

    Open, convert to RGB, split in halves, resize to 286 by bicubic interpolation, one random crop of 256 and one flip
    for both, ToTensor, Normalize.
    """

    def __init__(self, root: Path) -> None:
        self.files = sorted((root / "train").iterdir())
        self.to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.files[index]
        image = Image.open(path).convert("RGB")
        middle = image.width // 2
        halves = [image.crop((0, 0, middle, image.height)), image.crop((middle, 0, image.width, image.height))]
        margin = LOAD_SIZE - IMAGE_SIZE
        top, left, flip = random.randint(0, margin), random.randint(0, margin), random.random() < 0.5
        tensors = []
        for half in halves:
            half = F.resize(half, [LOAD_SIZE, LOAD_SIZE], transforms.InterpolationMode.BICUBIC)
            half = F.crop(half, top, left, IMAGE_SIZE, IMAGE_SIZE)
            tensors.append(self.to_tensor(F.hflip(half) if flip else half))
        return {"A": tensors[0], "B": tensors[1], "A_path": str(path), "B_path": str(path)}


def plain_epoch(root: Path, images: int) -> Callable[[], None]:
    """A function that reads the first so many pairs once, in a random order, in this process."""
    pairs = PlainPairs(root)
    loader = DataLoader(Subset(pairs, range(min(images, len(pairs)))), batch_size=1, shuffle=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch
