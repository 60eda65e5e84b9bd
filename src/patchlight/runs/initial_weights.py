"""The weights that a new training begins with, where they are not drawn."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Callback

from patchlight.callbacks import EMA
from patchlight.checkpoint import EMA_KEY, read_checkpoint
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod


def load_initial_weights(
    init_from: str,
    resume: str | None,
    method: TranslationMethod,
    callbacks: Mapping[str, Callback],
    *,
    is_resuming: bool,
) -> None:
    """Give the networks, and the averages of `callbacks=ema`, the weights of a checkpoint; nothing else is taken.

    A run that goes on with a checkpoint of its own, by resume=auto, keeps its weights.

    Raises:
        ConfigError: `resume` names a checkpoint, too; or the file holds other networks.
        DataError: the file is missing or cannot be used.
    """
    if resume not in (None, "auto"):
        raise ConfigError("init_from begins a new training and resume goes on with one: give one of the two")
    if is_resuming:
        return
    checkpoint = read_checkpoint(init_from)
    prefixes = tuple(f"{name}." for name in method.networks)
    # The rest of a method's state, such as its labels, is that of the new configuration.
    own = {key: value for key, value in method.state_dict().items() if not key.startswith(prefixes)}
    state = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith(prefixes)}
    try:
        method.load_state_dict({**own, **state})
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"init_from={init_from} holds other networks than model describes: give the model's settings of the "
            f"training that made it ({detail})"
        ) from None
    for callback in callbacks.values():
        if isinstance(callback, EMA):
            callback.averages = dict(checkpoint.get(EMA_KEY, {}))
            callback.batches = checkpoint.get("ema_batches", 0)
