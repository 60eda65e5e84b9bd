"""Stopping at the first value that is not a number, without waiting for the device in every step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, distributed

from patchlight.errors import TrainingError

OnNonFinite = Literal["stop", "skip"]


class StepSkippedError(Exception):
    """The values of this step are not finite, and it was asked for that such steps be skipped."""


@dataclass(frozen=True)
class _Watched:
    names: Sequence[str]
    values: Tensor
    ready: torch.cuda.Event | None
    step: int
    paths: Sequence[str]

    def found(self) -> str | None:
        """The first name whose value is not finite."""
        for name, value in zip(self.names, self.values.tolist(), strict=True):
            if not math.isfinite(value):
                return f"{name} is {value}"
        return None


def _on_any_rank(found: bool, device: torch.device) -> bool:
    """Whether this is so for one of the ranks, which then all leave out the step."""
    if distributed.is_available() and distributed.is_initialized():
        flag = torch.tensor(float(found), device=device)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag.item())
    return found


class FiniteGuard:
    """Looks at losses and gradient norms and stops the run, or skips the step, where one is not finite.

    On a CPU the look is taken before the optimizer moves. On a GPU reading a value would make the host wait for the
    device, so the values travel beside the work that follows and are looked at when they have arrived, a few steps
    later, and in any case before a checkpoint is written (`flush`). To skip a step it must be known at once, so
    `skip` does wait.

    Raises:
        TrainingError: a value is not finite; the message names it, the step and the files of the batch.
    """

    def __init__(self, mode: OnNonFinite) -> None:
        if mode not in ("stop", "skip"):
            raise ValueError(f"on_nonfinite must be stop or skip, got {mode!r}")
        self.mode: OnNonFinite = mode
        self.skipped = 0
        self._pending: deque[_Watched] = deque()

    def watch(self, values: Mapping[str, Tensor], step: int, paths: Sequence[str]) -> None:
        """Take in the values of a step, scalars by name; called after the backward pass, before the optimizer moves."""
        stacked = torch.stack([value.detach().float() for value in values.values()])
        if stacked.is_cuda and self.mode == "stop":
            host = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
            host.copy_(stacked, non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
            self._pending.append(_Watched(list(values), host, ready, step, paths))
            self._look(wait=False)
            return
        watched = _Watched(list(values), stacked, None, step, paths)
        if self.mode == "stop":
            self._pending.append(watched)
            self._look(wait=True)
        elif _on_any_rank(watched.found() is not None, stacked.device):
            self.skipped += 1
            raise StepSkippedError

    def flush(self) -> None:
        """Wait for everything that was watched, so that what is written next is known to be good."""
        self._look(wait=True)

    def _look(self, wait: bool) -> None:
        while self._pending:
            watched = self._pending[0]
            if watched.ready is not None and not watched.ready.query():  # type: ignore[no-untyped-call]
                if not wait:
                    return
                watched.ready.synchronize()
            self._pending.popleft()
            found = watched.found()
            if found is not None:
                raise TrainingError(
                    f"{found} in batch {watched.step}, made of {', '.join(watched.paths)}: training stopped and no "
                    f"checkpoint was written since. Look at these files; a lower model.optimizer.lr, model.clip_g and "
                    f"model.clip_d help against divergence, and model.on_nonfinite=skip leaves such batches out"
                )
