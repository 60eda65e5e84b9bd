"""The parts of an optimisation step: the gradients of one side, the steps of the optimizers, and undoing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from patchlight.errors import ConfigError
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.state import Batch, Resumable
from patchlight.system.lightning_internals import call_optimizer_hooks

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss to be computed when its turn comes: its terms, of which `total` is minimised, for some networks.

    `prefix` comes before the names of the terms where a message tells of them.
    """

    compute: Callable[[], Terms]
    networks: Sequence[nn.Module]
    weight: float = 1.0
    prefix: str = ""


@dataclass(frozen=True)
class Side:
    """Optimizers, the networks that they move by name, and the largest norm of each one's gradient, None for any.

    `a + b` is for a loss from which the networks of both learn.
    """

    optimizers: tuple[Optimizer, ...]
    networks: Mapping[str, nn.Module]
    clips: Mapping[str, float | None]

    def __add__(self, other: Side) -> Side:
        return Side(
            self.optimizers + other.optimizers, {**self.networks, **other.networks}, {**self.clips, **other.clips}
        )


@dataclass(frozen=True)
class Gradients:
    """What is ready for a side's optimizer: the terms of each loss, and all scalars that must be finite, by name."""

    side: Side
    terms: list[Terms]
    watched: Terms


def batch_weights(batches: Sequence[Batch]) -> list[float]:
    """The part that each batch has in all their images."""
    sizes = [len(batch["A"]) for batch in batches]
    return [size / sum(sizes) for size in sizes]


def mean_terms(terms: Sequence[Terms], weights: Sequence[float]) -> Terms:
    """Terms of several batches as those of one."""
    if len(terms) == 1:
        return terms[0]
    return {
        name: sum((weight * t[name] for t, weight in zip(terms, weights, strict=True)), terms[0][name].new_zeros(()))
        for name in terms[0]
    }


def merge_terms(parts: Sequence[Terms]) -> Terms:
    """The terms of several losses over the same images, with the sum of their totals."""
    total = sum((part["total"] for part in parts[1:]), parts[0]["total"])
    return {name: value for part in parts for name, value in part.items()} | {"total": total}


def compute_gradients(method: Resumable, side: Side, losses: Sequence[Loss]) -> Gradients:
    """Leave the gradients of a weighted sum of losses in the networks of one side, clipped; nothing moves yet.

    Each loss has its backward pass before the next is computed. The norms are bounded after the loss scale of float16
    is taken out.

    Raises:
        ConfigError: a network of this side is in no loss.
    """
    _require_a_loss_for_each(method, side, losses)
    for optimizer in side.optimizers:
        optimizer.zero_grad(set_to_none=True)
    last = {id(network): i for i, loss in enumerate(losses) for network in loss.networks}
    found: list[Terms] = []
    watched: Terms = {}
    for i, loss in enumerate(losses):
        terms = loss.compute()
        method.before_backward([network for network in loss.networks if last[id(network)] == i])
        method.manual_backward(terms["total"] if loss.weight == 1 else loss.weight * terms["total"])
        found.append({name: value.detach() for name, value in terms.items()})
        for name, value in found[-1].items():
            # A sum is finite only if all of its parts are.
            watched[loss.prefix + name] = watched.get(loss.prefix + name, 0.0) + value
    # What is named first is a part, which says more than the sum.
    for name in [name for name in watched if name.endswith("total")]:
        watched[name] = watched.pop(name)

    scaler = _scaler_of(method)
    if scaler is not None:
        for optimizer in side.optimizers:
            scaler.unscale_(optimizer)
    for name, network in side.networks.items():
        norm = get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        clip = side.clips[name]
        if clip is not None:
            clip_grads_with_norm_(network.parameters(), clip, norm)
        method.last_step.gradient_norms[name] = norm
        if scaler is None:  # which itself leaves out steps whose gradients overflow
            watched[f"the gradient of {name}"] = norm
    return Gradients(side, found, watched)


def step_optimizer(method: Resumable, optimizer: Optimizer) -> None:
    """Apply the gradients that are ready, past Lightning's counter, which would count the steps of every optimizer."""
    scaler = _scaler_of(method)
    if scaler is None:
        method.trainer.strategy.optimizer_step(optimizer, closure=_no_closure, model=method)
        return
    # Lightning's way with a scaler would take the loss scale out again and update it after each optimizer. What it does
    # in between is to call the hooks.
    call_optimizer_hooks(method, optimizer)
    scaler.step(optimizer)


def update_scale(method: Resumable) -> None:
    """Adapt the loss scale of float16 to what both sides' gradients were; called once, at the end of a step."""
    scaler = _scaler_of(method)
    if scaler is not None:
        scaler.update()


def require_optimizers(method: Resumable, optimizers: Iterable[Optimizer]) -> None:
    """Raise a ConfigError that names a network with weights to be trained that no optimizer moves."""
    moved = {p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad and parameter not in moved:
            raise ConfigError(
                f"{type(method).__name__}.{name.partition('.')[0]} has weights to be trained ({name}) that are in no "
                f"optimizer of configure_optimizers: add them there, or set requires_grad_(False) for them"
            )


def _scaler_of(method: Resumable) -> GradScaler | None:
    plugin = method.trainer.precision_plugin
    return plugin.scaler if isinstance(plugin, MixedPrecision) else None


def _require_a_loss_for_each(method: Resumable, side: Side, losses: Sequence[Loss]) -> None:
    """Gradients of a network that no loss names would not be averaged over the ranks."""
    listed = {id(network) for loss in losses for network in loss.networks}
    for name, network in side.networks.items():
        if id(network) not in listed:
            raise ConfigError(
                f"{type(method).__name__}.{name} is moved by an optimizer, and no Loss of this step names it in its "
                f"networks: its gradients would not be averaged over the ranks. Name it there"
            )


def _no_closure() -> None:
    """The optimizers are called with their gradients ready."""


class Rollback:
    """A method as it was before a step: its buffers, image pools and record of the last step; and kept optimizers.

    Of the networks' weights nothing is copied, for a step is left out before its optimizer has moved them. Where one
    optimizer moves before the gradients of the other are known, `keep` copies what its step overwrites.
    """

    def __init__(self, method: Resumable, pools: Iterable[ImagePool]) -> None:
        self._method = method
        self._buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
        self._pools = [(pool, pool.state_dict()) for pool in pools]
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
