"""Translating files with the loop that one writes first: one image after the other, in eager float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision import transforms


def plain_translate(generator: nn.Module, files: Sequence[Path], output: Path) -> None:
    """Translate files one by one; images are of sizes that the network takes."""
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    output.mkdir(parents=True, exist_ok=True)
    device = next(generator.parameters()).device
    for file in files:
        image = to_tensor(Image.open(file).convert("RGB")).unsqueeze(0).to(device)
        with torch.no_grad():
            fake = generator(image)
        array = ((fake[0].clamp(-1, 1) + 1) / 2 * 255).byte().permute(1, 2, 0).cpu().numpy()
        Image.fromarray(array).save(output / f"{file.stem}.png")
