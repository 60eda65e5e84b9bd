"""The processes that read images while the training computes."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from multiprocessing import parent_process

import cv2
import torch

MOST_WORKERS = 8
"""More are not started for a rank unless they are asked for."""

LOOK_EVERY_S = 0.25
"""How often a worker looks whether the process that started it is there."""

_training_listens = mmap.mmap(-1, 1)
"""Memory that forked workers share: 1 while the training answers SIGTERM."""


def choose_workers(local_ranks: int) -> int:
    """The worker processes of a rank where nothing else is asked for.

    On the CPU they would take from the training the cores that it computes on, and one is fast enough for it.
    """
    if not torch.accelerator.is_available():
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // local_ranks))


def listen_for_workers(listens: bool) -> None:
    """Say whether this process answers SIGTERM by saving and ending a training, for its workers and itself."""
    _training_listens[0] = int(listens)


def settle_worker(worker: int) -> None:
    """One thread per worker process, which ends with its training and not before.

    A cluster sends its signals to the workers, too, who would be gone before the training has saved itself. So SIGTERM
    ends a worker at once unless the training listens, to which it is handed on then. The signals that ask for nothing
    but a checkpoint are left to the training.
    """
    process = parent_process()
    assert process is not None
    assert process.pid is not None
    parent = process.pid

    def end(signum: int, frame: object) -> None:
        if _training_listens[0] and os.getppid() == parent:
            os.kill(parent, signum)
            return
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)

    signal.signal(signal.SIGTERM, end)
    for signum in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _end_with(parent: int) -> None:
    """End this process soon after that one, which may have been killed."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)
