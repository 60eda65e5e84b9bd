"""Checks the lengths of a training against the number of its images, which the configuration alone does not know."""

from __future__ import annotations

from typing import Any

from patchlight.errors import ConfigError


def check_lengths(trainer: Any, model: Any, images: int, batch_size: int, ranks: int) -> None:
    """Refuse a training that has no batches, no step of each side, or whose validation lies beyond its epoch.

    `trainer` and `model` are those sections of the configuration; `images` are those of the training split, and
    `ranks` those that share them.

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
    _check_turns(trainer, model, batches)


def check_validation(trainer: Any, images: int, ranks: int) -> None:
    """Refuse a training in which a rank has no image to validate on: the others would wait for it without end.

    Raises:
        ConfigError: by the key that makes more or none of them.
    """
    if 0 < images < ranks and trainer.get("limit_val_batches") != 0:
        raise ConfigError(
            f"data.val_size: {images} image{'s' * (images != 1)} to validate on do not give each of {ranks} ranks one; "
            f"give data.val_size={ranks} or more, a larger val split, or trainer.limit_val_batches=0"
        )


def _check_turns(trainer: Any, model: Any, batches: int) -> None:
    """Refuse a training that ends before the generators' first step."""
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    totals = ([epochs * batches] if epochs not in (None, -1) else []) + ([steps] if steps != -1 else [])
    turns, start = model.get("d_steps_per_g_step", 1), model.get("discriminator_start", 0)
    if totals and start == 0 and turns * model.get("accumulate", 1) > min(totals):
        raise ConfigError(
            f"model.d_steps_per_g_step={turns} leaves the generators without a step: the training has {min(totals)} "
            f"batches; give less, or a longer training"
        )
