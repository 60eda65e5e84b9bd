"""Training steps as one writes them first: an eager float32 loop with Adam, and no trainer."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from plain_networks import PatchGAN, ResNet, UNet
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Step = Callable[[], None]


def adam(*networks: nn.Module) -> torch.optim.Adam:
    """The optimizer of both papers, with PyTorch's defaults for the rest."""
    return torch.optim.Adam(
        itertools.chain(*(network.parameters() for network in networks)), lr=2e-4, betas=(0.5, 0.999)
    )


def pix2pix_step(size: int, batch: int, depth: int, n_layers: int, width: int, device: torch.device) -> Step:
    """One step of pix2pix on one batch of random images of `size` pixels."""
    generator = UNet(depth, width).to(device)
    discriminator = PatchGAN(6, nn.BatchNorm2d, width, n_layers).to(device)
    optimizer_g, optimizer_d = adam(generator), adam(discriminator)
    real_A, real_B = torch.rand(2, batch, 3, size, size, device=device) * 2 - 1

    def loss(logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def step() -> None:
        fake_B = generator(real_A)
        optimizer_d.zero_grad()
        loss_fake = loss(discriminator(torch.cat([real_A, fake_B.detach()], 1)), 0.0)
        loss_real = loss(discriminator(torch.cat([real_A, real_B], 1)), 1.0)
        ((loss_fake + loss_real) / 2).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        loss_g = loss(discriminator(torch.cat([real_A, fake_B], 1)), 1.0) + 100 * F.l1_loss(fake_B, real_B)
        loss_g.backward()
        optimizer_g.step()

    return step


def cyclegan_step(size: int, batch: int, n_blocks: int, n_layers: int, width: int, device: torch.device) -> Step:
    """One step of CycleGAN, identity terms included, on one batch of random images of `size` pixels."""
    g_ab, g_ba = ResNet(n_blocks, width).to(device), ResNet(n_blocks, width).to(device)
    d_a, d_b = (PatchGAN(3, nn.InstanceNorm2d, width, n_layers).to(device) for _ in range(2))
    optimizer_g, optimizer_d = adam(g_ab, g_ba), adam(d_a, d_b)
    real_A, real_B = torch.rand(2, batch, 3, size, size, device=device) * 2 - 1

    def loss(logits: Tensor, label: float) -> Tensor:
        return F.mse_loss(logits, torch.full_like(logits, label))

    def step() -> None:
        fake_B, fake_A = g_ab(real_A), g_ba(real_B)
        rec_A, rec_B = g_ba(fake_B), g_ab(fake_A)
        idt_A, idt_B = g_ba(real_A), g_ab(real_B)
        for discriminator in (d_a, d_b):
            discriminator.requires_grad_(False)
        optimizer_g.zero_grad()
        loss_g = loss(d_b(fake_B), 1.0) + loss(d_a(fake_A), 1.0)
        loss_g = loss_g + 10 * (F.l1_loss(rec_A, real_A) + F.l1_loss(rec_B, real_B))
        loss_g = loss_g + 5 * (F.l1_loss(idt_A, real_A) + F.l1_loss(idt_B, real_B))
        loss_g.backward()
        optimizer_g.step()
        for discriminator in (d_a, d_b):
            discriminator.requires_grad_(True)
        optimizer_d.zero_grad()
        for discriminator, real, fake in ((d_b, real_B, fake_B), (d_a, real_A, fake_A)):
            ((loss(discriminator(real), 1.0) + loss(discriminator(fake.detach()), 0.0)) / 2).backward()
        optimizer_d.step()

    return step
