"""Steps with values that are not finite: left out as a whole, or stopped at before anything is saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from tiny_methods import cyclegan, fit, images, pix2pix, pix2pixhd
from torch import Tensor
from torch.utils.data import DataLoader

from patchlight.callbacks import BestCheckpoint, LastCheckpoint
from patchlight.errors import TrainingError
from patchlight.losses import R1, R2
from patchlight.methods import CycleGAN, Pix2Pix, Pix2PixHD, TranslationMethod
from patchlight.methods.guard import FiniteGuard, _Watched
from patchlight.networks import PatchDiscriminator, UNetGenerator

MAKE = pytest.mark.parametrize("make", [pix2pix, cyclegan, pix2pixhd])

NAN = float("nan")


def poison(method: Pix2Pix | CycleGAN | Pix2PixHD, where: str, step: int) -> None:
    """Make one value of one step of the optimizers a NaN."""

    def now() -> bool:
        return method.global_step // method.accumulate == step

    def spoil_loss(module: Any, args: Any, kwargs: Any, loss: Tensor) -> Tensor:
        wanted = kwargs.get("for_generator", False) == (where == "loss of G")
        return loss * NAN if now() and wanted else loss

    networks = method.generators if where.endswith("G") else method.discriminators
    if where.startswith("loss"):
        method.adversarial.objective.register_forward_hook(spoil_loss, with_kwargs=True)
    elif where.startswith("gradient"):
        next(networks[-1].parameters()).register_hook(lambda g: g * NAN if now() else g)
    else:
        method.adversarial.penalties["r1"].register_forward_hook(
            lambda module, args, found: found._replace(term=found.term * NAN) if now() else found
        )


class GradientNorms(Callback):
    """The record that callbacks see after every batch."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.seen.append({name: float(norm) for name, norm in pl_module.last_step.gradient_norms.items()})


def assert_same(a: Any, b: Any, where: str) -> None:
    """Equal to the last bit, through lists and dicts."""
    if isinstance(a, Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, Mapping):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    else:
        assert a == b, where


def _with_penalties(make: Any, accumulate: int, d_steps_per_g_step: int, **settings: Any) -> Any:
    """A method with an R1 in each step and an R2 in each second."""
    penalties = {"r1": R1(gamma=0.1), "r2": R2(gamma=0.1, interval=2)}
    settings |= {"pool_size": 2} if make is cyclegan else {}
    settings |= {"accumulate": accumulate, "d_steps_per_g_step": d_steps_per_g_step}
    return make(norm="batch", d_norm="instance", gan_mode="lsgan", penalties=penalties, **settings)


Trained = tuple[Any, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def spared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, int, int], Trained]:
    """A method and its optimizers after a training without the batches of the second step."""

    @cache
    def trained(make: Any, accumulate: int, d_steps_per_g_step: int) -> Trained:
        method = _with_penalties(make, accumulate, d_steps_per_g_step)
        batches = list(images(4 * accumulate))
        kept = DataLoader(batches[:accumulate] + batches[2 * accumulate :], batch_size=None)  # type: ignore[arg-type]
        record = fit(method, tmp_path_factory.mktemp("spared"), kept)
        return method, [optimizer.state_dict() for optimizer in record.trainer.optimizers]  # type: ignore[attr-defined]

    return trained


@MAKE
@pytest.mark.parametrize("where", ["loss of G", "loss of D", "gradient of G", "gradient of D", "penalty"])
@pytest.mark.parametrize(("accumulate", "d_steps_per_g_step"), [(1, 1), (2, 2)])
def test_nothing_is_left_of_a_step_that_is_skipped(
    make: Any, where: str, accumulate: int, d_steps_per_g_step: int, tmp_path: Path, spared: Callable[..., Trained]
) -> None:
    """Afterwards all is as in a training that never saw those batches. The third step's R2 is due, the second's not."""
    twin, expected = spared(make, accumulate, d_steps_per_g_step)
    method = _with_penalties(make, accumulate, d_steps_per_g_step, on_nonfinite="skip")
    poison(method, where, step=1)
    batches = list(images(4 * accumulate))
    norms = GradientNorms()
    record = fit(method, tmp_path, DataLoader(batches, batch_size=None), callbacks=[norms])  # type: ignore[arg-type]
    assert [f["skipped_steps"] for f in record.figures[accumulate - 1 :: accumulate]] == [0, 1, 1, 1]
    assert record.moved[2 * accumulate - 1] == set()
    assert norms.seen[2 * accumulate - 1] == norms.seen[accumulate - 1]
    assert all(math.isfinite(norm) for seen in norms.seen for norm in seen.values())
    assert_same(method.state_dict(), twin.state_dict(), "method")
    optimizers = record.trainer.optimizers  # type: ignore[attr-defined]
    assert_same([optimizer.state_dict() for optimizer in optimizers], expected, "optimizer")
    assert (method.d_steps, twin.d_steps) == (3, 3)
    assert (method.images_seen, twin.images_seen) == (4 * accumulate, 3 * accumulate)
    for name, pool in method.pools.items():
        assert len(pool) == 2
        assert_same(pool.state_dict(), twin.pools[name].state_dict(), f"pool {name}")


class Late:
    """Values that come when they are waited for, as from a GPU that is far behind."""

    def __init__(self) -> None:
        self.arrived = False

    def query(self) -> bool:
        return self.arrived

    def synchronize(self) -> None:
        self.arrived = True


class SaveWeights(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, batch: Any, outputs: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            trainer.save_checkpoint(self.path, weights_only=True)


def saves(kind: str, folder: Path) -> list[Callback]:
    match kind:
        case "last":
            return [LastCheckpoint(folder, every_n_train_steps=3)]
        case "best":
            return [BestCheckpoint(folder, monitor="val/l1")]
        case "weights":
            return [SaveWeights(folder / "weights.ckpt")]
    return []


@pytest.mark.parametrize("kind", ["last", "best", "weights", "none"])
def test_nothing_is_saved_before_late_values_are_looked_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(guard: FiniteGuard, values: Mapping[str, Tensor], step: int, paths: Any) -> None:
        stacked = torch.stack([v.detach().float() for v in values.values()])
        guard._pending.append(_Watched(list(values), stacked, Late(), step, paths))  # type: ignore[arg-type]
        guard._look(wait=False)

    class Validated(Pix2Pix):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val/l1", torch.tensor(1.0), batch_size=1)

    monkeypatch.setattr(FiniteGuard, "watch", watch)
    torch.manual_seed(0)
    method = Validated(UNetGenerator(3, 3, 3, 4, norm="none"), PatchDiscriminator(6, 4, 1, norm="none"))
    with pytest.raises(TrainingError, match=r"d_real is nan in batch 2, made of a1.png, b1.png: training stopped and"):
        fit(
            method,
            tmp_path,
            images(4, spoilt=1),
            images(1),
            saves(kind, tmp_path),
            num_sanity_val_steps=0,
            enable_checkpointing=kind in ("last", "best"),
        )
    assert not list(tmp_path.glob("*.ckpt"))


class CountedScaler(torch.amp.GradScaler):
    """A scaler that counts, and that looks at scales after every update."""

    def __init__(self) -> None:
        super().__init__("cpu", init_scale=1024.0, growth_interval=2)
        self.scales: list[float] = []

    def update(self, new_scale: Any = None) -> None:
        super().update(new_scale)
        self.scales.append(self.get_scale())


class Scaled(MixedPrecision):
    """A scaler without the narrow type."""

    def forward_context(self) -> Any:
        return torch.autocast("cpu", enabled=False)


class Hooks(Callback):
    def __init__(self) -> None:
        self.called: list[int] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.called.append(trainer.optimizers.index(optimizer))


def fit_scaled(method: TranslationMethod, folder: Path) -> tuple[CountedScaler, Hooks, Any]:
    scaler, hooks = CountedScaler(), Hooks()
    loader = DataLoader([{k: v.float() for k, v in b.items() if k in "AB"} for b in images(4)], batch_size=None)  # type: ignore[arg-type]
    record = fit(method, folder, loader, precision=None, plugins=[Scaled("16-mixed", "cpu", scaler)], callbacks=[hooks])
    return scaler, hooks, record


@MAKE
def test_a_scaler_is_updated_once_a_batch_and_hooks_fire(make: Any, tmp_path: Path) -> None:
    scaler, hooks, record = fit_scaled(make(), tmp_path)
    assert scaler.scales == [1024, 2048, 2048, 4096]
    assert hooks.called == ([1, 0] if make is not cyclegan else [0, 1]) * 4
    assert all(len(moved) == 2 for moved in record.moved)


@MAKE
@pytest.mark.parametrize("where", ["gradient of G", "gradient of D"])
def test_a_scaler_counts_what_overflows_on_either_side(make: Any, where: str, tmp_path: Path) -> None:
    method = make()
    poison(method, where, step=2)
    scaler, _, record = fit_scaled(method, tmp_path)
    assert scaler.scales == [1024, 2048, 1024, 1024]
    assert record.moved[2] == {"discriminator" if where == "gradient of G" else "generator"}


def test_a_scaler_is_updated_where_a_step_is_skipped(tmp_path: Path) -> None:
    method = pix2pix(on_nonfinite="skip")
    poison(method, "loss of G", step=1)
    scaler, hooks, record = fit_scaled(method, tmp_path)
    assert len(scaler.scales) == 4
    assert hooks.called == [1, 0, 1, 1, 0, 1, 0]
    assert record.moved[1] == set()
