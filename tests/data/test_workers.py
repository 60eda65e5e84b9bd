from __future__ import annotations

import os

import pytest
import torch

from patchlight.data.workers import choose_workers


def test_the_cpu_is_left_to_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert choose_workers(1) == choose_workers(4) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are counted in another way")
@pytest.mark.parametrize(
    ("cores", "ranks", "workers"), [(1, 1, 1), (6, 1, 6), (64, 1, 8), (64, 16, 4), (6, 4, 1), (2, 8, 1)]
)
def test_ranks_share_the_cores(cores: int, ranks: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert choose_workers(ranks) == workers
