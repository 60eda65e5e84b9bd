"""What two processes do for a test. They import it by this name, which no installed package has, unlike `tests`."""

from __future__ import annotations

import torch
from torch import distributed, nn

from patchlight.methods.inference import inference
from patchlight.networks import SyncBatchNorm


def halves(rank: int, folder: str) -> None:
    """On each of two ranks: half of a batch forward and backward, compared with batch norm over all of it."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.manual_seed(0)
    x, weight = torch.randn(4, 3, 6, 5, dtype=torch.float64) * 3 + 7, torch.randn(4, 3, 6, 5, dtype=torch.float64)
    own, stock = SyncBatchNorm(3).double(), nn.BatchNorm2d(3).double()
    part = slice(2 * rank, 2 * rank + 2)
    mine, whole = x[part].clone().requires_grad_(True), x.clone().requires_grad_(True)
    out, expected = own(mine), stock(whole)
    torch.testing.assert_close(out, expected[part], rtol=1e-12, atol=1e-12)
    (out * weight[part]).sum().backward()
    (expected * weight).sum().backward()
    assert whole.grad is not None
    torch.testing.assert_close(mine.grad, whole.grad[part], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(own.running_mean, stock.running_mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(own.running_var, stock.running_var, rtol=1e-12, atol=1e-12)
    with inference(nn.Sequential(own), mode="paper"):  # each rank by itself, or this would wait for the other
        if rank == 0:
            own(mine)
    assert own(mine.detach().to(torch.bfloat16).double()).dtype == torch.float64
    distributed.destroy_process_group()
