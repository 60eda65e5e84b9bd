"""The processes that read images while the training computes."""

from __future__ import annotations

import os
import signal
import sys

import cv2
import torch

MOST_WORKERS = 8
"""More are not started for a rank unless they are asked for."""


def choose_workers(local_ranks: int) -> int:
    """The worker processes of a rank where nothing else is asked for.

    On the CPU they would take from the training the cores that it computes on, and one is fast enough for it.
    """
    if not torch.accelerator.is_available():
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // local_ranks))


def settle_worker(worker: int) -> None:
    """One thread per worker process, and no ear for signals that are meant for the training.

    A cluster sends them to the workers, too, who would be gone before the training has saved itself.
    """
    for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
