"""One step of one optimizer: gradients over one or several batches, clipped, looked at, and applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from patchlight.methods.guard import FiniteGuard
from patchlight.networks import recomputed

if TYPE_CHECKING:
    from patchlight.methods.base import TranslationMethod

Batch = Mapping[str, Any]
"""`A`, `B`: floating point, B C H W, in [-1, 1]; `A_path`, `B_path`: lists of file names."""

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


def shares(batches: Sequence[Batch]) -> list[float]:
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


def generate(generator: nn.Module, images: Tensor, *, keep: bool) -> Tensor:
    """The generator's images, with what their backward pass needs; unless `keep`, that is computed again then.

    Computing again saves memory where the images of many batches wait for their backward pass.
    """
    return generator(images) if keep else recomputed(generator, images)


def descend(
    method: TranslationMethod,
    optimizer: Optimizer,
    networks: Sequence[nn.Module],
    losses: Sequence[Loss],
    *,
    clip: float | None,
    guard: FiniteGuard,
    paths: Sequence[str],
) -> list[Terms]:
    """Step the optimizer of some networks down the weighted sum of losses; returns the terms of each loss, detached.

    Each loss has its backward pass before the next is computed. `clip` bounds the norm of each network's gradient,
    after the loss scale of float16 is taken out. Nothing is applied if the guard objects.
    """
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

    plugin = method.trainer.precision_plugin
    scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
    if scaler is not None:
        scaler.unscale_(optimizer)
    names = {id(network): name for name, network in method.named_children()}
    for network in networks:
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        norm = get_total_norm(gradients)
        if clip is not None:
            clip_grads_with_norm_(network.parameters(), clip, norm)
        method.observed.gradient_norms[names[id(network)]] = norm
        if scaler is None:  # which itself leaves out steps whose gradients overflow
            watched[f"the gradient of {names[id(network)]}"] = norm
    guard.watch(watched, step=method.global_step + 1, paths=paths)
    if scaler is not None:
        scaler.step(optimizer)
        scaler.update()
    else:
        # Through the strategy, as `LightningOptimizer.step` does, but past Lightning's counter, which would count the
        # steps of every optimizer.
        method.trainer.strategy.optimizer_step(optimizer, closure=_no_closure, model=method)
    return found


def _no_closure() -> None:
    """The optimizers are called with their gradients ready."""
