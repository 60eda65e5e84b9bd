"""What numbers the classes of other libraries take, whose signatures do not say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from patchlight.config.validation.values import Built, word

Share = Annotated[float, Field(ge=0, lt=1)]
Endless = PositiveInt | Literal[-1]
Batches = PositiveInt | Annotated[float, Field(gt=0, le=1)]
"""A number of batches, or with a point in it a part of them all."""
DEVICES = word(r"auto|-1|\d+(,\d+)*", "'auto', or numbers such as '0,1'")
TIME = word(r"\d+:\d+:\d+:\d+", "a time DD:HH:MM:SS")
MaybeNoBatches = NonNegativeInt | Annotated[float, Field(ge=0, le=1)]

_TRAINER: Mapping[str, Any] = {
    "accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"],
    "strategy": str,
    "devices": PositiveInt | Literal[-1] | DEVICES | Annotated[list[NonNegativeInt], Field(min_length=1)],
    "profiler": Literal["simple", "advanced", "pytorch", "xla"] | Built | None,
    "val_check_interval": Batches | TIME | None,
    "max_epochs": Endless | None,
    "min_epochs": NonNegativeInt | None,
    "max_steps": Endless,
    "min_steps": NonNegativeInt | None,
    "num_nodes": PositiveInt,
    "limit_train_batches": Batches | None,
    "limit_val_batches": MaybeNoBatches | None,
    "limit_test_batches": MaybeNoBatches | None,
    "overfit_batches": MaybeNoBatches,
    "check_val_every_n_epoch": PositiveInt | None,
    "log_every_n_steps": NonNegativeInt | None,
    "num_sanity_val_steps": NonNegativeInt | Literal[-1] | None,
    "reload_dataloaders_every_n_epochs": NonNegativeInt,
}

_OPTIMIZER: Mapping[str, Any] = {
    "lr": NonNegativeFloat,
    "betas": tuple[Share, Share],
    "eps": NonNegativeFloat,
    "weight_decay": NonNegativeFloat,
    "momentum": NonNegativeFloat,
    "momentum_decay": NonNegativeFloat,
    "dampening": float,
    "alpha": NonNegativeFloat,
    "rho": Share,
    "lr_decay": NonNegativeFloat,
    "initial_accumulator_value": NonNegativeFloat,
    "lambd": NonNegativeFloat,
    "t0": NonNegativeFloat,
    "etas": tuple[PositiveFloat, PositiveFloat],
    "step_sizes": tuple[PositiveFloat, PositiveFloat],
}

_EARLY_STOPPING: Mapping[str, Any] = {
    "mode": Literal["min", "max"],
    "patience": NonNegativeInt,
    "min_delta": NonNegativeFloat,
}


def bounds_of(target: str) -> Mapping[str, Any]:
    """The types of some parameters of a class that are narrower than its signature, by their names."""
    if target.startswith("torch.optim."):
        return _OPTIMIZER
    module, _, name = target.rpartition(".")
    if module.startswith(("lightning.pytorch", "pytorch_lightning")):
        return {"Trainer": _TRAINER, "EarlyStopping": _EARLY_STOPPING}.get(name, {})
    return {}
