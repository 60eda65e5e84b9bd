"""Undoing a step that turns out, on its way, to be one that must be left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

if TYPE_CHECKING:
    from patchlight.methods.base import TranslationMethod


class Rollback:
    """A method as it was before a step: its buffers, image pools and record of the last step; and kept optimizers.

    Of the networks' weights nothing is copied, for a step is left out before its optimizer has moved them. Where one
    optimizer moves before the gradients of the other are known, `keep` copies what its step overwrites.
    """

    def __init__(self, method: TranslationMethod) -> None:
        self._method = method
        self._buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
        self._pools = [(pool, pool.state_dict()) for pool in method.pools.values()]
        seen = method.last_step
        self._last_step = replace(
            seen, images=dict(seen.images), logits=dict(seen.logits), gradient_norms=dict(seen.gradient_norms)
        )
        self._optimizers: list[_KeptOptimizer] = []

    def keep(self, optimizer: Optimizer) -> None:
        """Copy the weights and the state of an optimizer that is about to step."""
        self._optimizers.append(_KeptOptimizer(optimizer))

    @torch.no_grad()
    def restore(self) -> None:
        """Make the method what it was."""
        for buffer, value in self._buffers:
            buffer.copy_(value)
        for pool, state in self._pools:
            pool.load_state_dict(state)
        self._method.last_step = self._last_step
        for kept in reversed(self._optimizers):
            kept.restore()


class _KeptOptimizer:
    """The weights, state and settings of an optimizer at one moment."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._weights = [(p, p.detach().clone()) for group in optimizer.param_groups for p in group["params"]]
        self._state = {p: _copy(state) for p, state in optimizer.state.items()}
        # Some optimizers count their steps among their settings.
        self._settings = [
            {key: _copy(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]

    def restore(self) -> None:
        for parameter, value in self._weights:
            parameter.copy_(value)
        self._optimizer.state.clear()
        self._optimizer.state.update(self._state)
        for group, settings in zip(self._optimizer.param_groups, self._settings, strict=True):
            group.update(settings)


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return list(value) if isinstance(value, list) else value
