"""How long a training is, in batches, checked before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from patchlight.errors import ConfigError


@dataclass(frozen=True)
class Length:
    """The batches of a training: those of an epoch that are taken, and where it ends."""

    batches: int
    batch_size: int
    """Images of a batch on one rank."""
    ranks: int
    epochs: int | None
    """None: any number of them."""
    steps: int | None
    """`trainer.max_steps`; None: no limit."""

    @property
    def total(self) -> int | None:
        """The batches until the end; None where there is none."""
        ends = [self.epochs * self.batches] if self.epochs is not None else []
        return min([*ends, *([self.steps] if self.steps is not None else [])], default=None)


def check_lengths(trainer: Any, model: Any, images: int, batch_size: int, ranks: int) -> Length:
    """Refuse a training that has no batches, no step of each side, or whose validation lies beyond its epoch.

    `trainer` and `model` are those sections of the configuration; `images` are those of an epoch, and `ranks` those
    that share them.

    Raises:
        ConfigError: by the key, with the number of batches.
    """
    whole = -(-images // (ranks * batch_size))
    said = f"an epoch has {whole} batch{'es' * (whole != 1)}"
    key = "overfit_batches" if trainer.get("overfit_batches") else "limit_train_batches"
    limit = trainer.get(key)
    batches = whole if limit is None else min(whole, limit) if isinstance(limit, int) else int(whole * limit)
    if batches < 1:
        raise ConfigError(
            f"trainer.{key}={limit} leaves nothing to train on: {said}; give a number of batches, 1 or more"
        )
    if batches < whole:
        said += f", of which trainer.{key}={limit} takes {batches}"
    every = trainer.get("val_check_interval")
    if isinstance(every, int) and every > batches and trainer.get("check_val_every_n_epoch") is not None:
        raise ConfigError(
            f"trainer.val_check_interval={every} is beyond the end of an epoch: {said}; give at most {batches}, or "
            f"trainer.check_val_every_n_epoch=null to count over the epochs' ends"
        )
    if model.get("accumulate", 1) > batches:
        raise ConfigError(
            f"model.accumulate={model.get('accumulate')} is more than an epoch: {said}; give at most {batches}"
        )
    epochs, steps = (n if n not in (None, -1) else None for n in (trainer.get("max_epochs"), trainer.get("max_steps")))
    length = Length(batches, batch_size, ranks, epochs, steps)
    total, turns = length.total, model.get("d_steps_per_g_step", 1)
    begins_late = model.get("discriminator_start", 0) > 0
    if total is not None and not begins_late and turns * model.get("accumulate", 1) > total:
        raise ConfigError(
            f"model.d_steps_per_g_step={turns} leaves the generators without a step: the training has {total} "
            f"batches; give less, or a longer training"
        )
    return length


def check_evaluation(trainer: Any, split: Literal["val", "test"], images: int, ranks: int) -> None:
    """Refuse a training in which a rank has no image of a split: others would wait for it, or it has no figures.

    Raises:
        ConfigError: by the key that makes more or none of them.
    """
    if not 0 < images < ranks or trainer.get(f"limit_{split}_batches") == 0:
        return
    few = f"{images} image{'s do' if images != 1 else ' does'} not give each of {ranks} ranks one"
    if split == "val":
        raise ConfigError(
            f"data.val_size: to validate on, {few}; give data.val_size={ranks} or more, a larger val split, or "
            f"trainer.limit_val_batches=0"
        )
    raise ConfigError(f"data: to test on, {few}; give a larger test split, or trainer.limit_test_batches=0")
