"""Averages, checkpoints and the position of a run, without a command around them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, SequentialSampler

from killing import differences
from patchlight.callbacks import EMA, BestCheckpoint, Health, LastCheckpoint, LoopState, Quality, RunRecord
from patchlight.callbacks.ema import averaged_state
from patchlight.callbacks.signals import CAUGHT, Signals
from patchlight.checkpoint import AtomicCheckpointIO, read_checkpoint, weights
from patchlight.data.loading import settle_worker
from patchlight.errors import ConfigError
from patchlight.methods import CycleGAN, Pix2Pix
from patchlight.methods.schedules import linear
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator


def method(**settings: Any) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1), inference_mode="eval", **settings)


class From(SequentialSampler):
    """Begins later, as the data module's sampler does in a run that goes on within an epoch."""

    skip = 0

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.skip, len(self)))


def batches(n: int, skip: int = 0) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    images = [{k: torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1 for k in "AB"} for _ in range(n)]
    sampler = From(images)
    sampler.skip = skip
    return DataLoader(images, batch_size=None, sampler=sampler, generator=generator)  # type: ignore[arg-type]


def trainer(folder: Path, *callbacks: Callback, **settings: Any) -> Trainer:
    return Trainer(
        **{"max_epochs": 1} | settings, accelerator="cpu", callbacks=[*callbacks, LoopState(), RunRecord({})],
        logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        num_sanity_val_steps=0, plugins=[AtomicCheckpointIO()],
        enable_checkpointing=any(isinstance(c, LastCheckpoint | BestCheckpoint) for c in callbacks),
    )  # fmt: skip


class Weights(Callback):
    """The generators' state after every batch, and during validation."""

    def __init__(self) -> None:
        self.trained: list[dict[str, torch.Tensor]] = []
        self.validated: dict[str, torch.Tensor] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.trained.append({k: v.clone() for k, v in averaged_state(pl_module).items()})

    def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.validated = {k: v.clone() for k, v in averaged_state(pl_module).items()}


@pytest.mark.parametrize("warmup", [False, True])
def test_averages_follow_their_formula(warmup: bool, tmp_path: Path) -> None:
    model, ema, seen = method(), EMA(decay=0.6, warmup=warmup), Weights()
    expected = {k: v.clone() for k, v in averaged_state(model).items()}
    trainer(tmp_path, ema, seen).fit(model, batches(4), batches(1))
    for t, state in enumerate(seen.trained):
        decay = min(0.6, (1 + t) / (10 + t)) if warmup else 0.6
        for name, value in state.items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value
    for name, value in expected.items():
        torch.testing.assert_close(ema.averages[name], value, msg=name)
        assert torch.equal(seen.validated[name], ema.averages[name])
        assert torch.equal(averaged_state(model)[name], seen.trained[-1][name])
    assert not any(name.startswith("discriminator") for name in expected)
    assert any("running_mean" in name for name in expected)
    with pytest.raises(ValueError, match="decay must be between 0 and 1, got 1.0"):
        EMA(decay=1.0)


def test_a_checkpoint_has_both_sets_of_weights(tmp_path: Path) -> None:
    model, ema = method(), EMA(decay=0.5)
    trainer(tmp_path, ema, LastCheckpoint(tmp_path / "c")).fit(model, batches(3), batches(1))
    saved = read_checkpoint(tmp_path / "c" / "last.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(weights(saved, "raw")[name], value)
        expected = ema.averages[name] if name.startswith("generator.") else value
        assert torch.equal(weights(saved, "ema")[name], expected)


class AtStep(Callback):
    """Does something in the middle of a batch."""

    def __init__(self, step: int, act: Any) -> None:
        self.step = step
        self.act = act

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            self.act()


class Steps(LastCheckpoint):
    """The steps at which it was written."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.steps: list[int] = []

    def _save(self, trainer: Trainer) -> None:
        before = self._saved_step
        super()._save(trainer)
        if self._saved_step != before:
            self.steps.append(self._saved_step)


def test_last_is_written_when_it_is_due(tmp_path: Path) -> None:
    every_two = Steps(tmp_path / "a", every_n_train_steps=2)
    trainer(tmp_path, every_two, max_epochs=2).fit(method(), batches(5))
    assert every_two.steps == [2, 4, 5, 6, 8, 10]
    assert read_checkpoint(tmp_path / "a" / "previous.ckpt")["global_step"] == 8
    rarely = Steps(tmp_path / "b", every_n_epochs=2)
    trainer(tmp_path, rarely, max_epochs=3).fit(method(), batches(2))
    assert rarely.steps == [4, 6]
    by_the_clock = Steps(tmp_path / "c", every_n_minutes=0.01)
    waiting = AtStep(2, lambda: time.sleep(0.7))
    trainer(tmp_path, waiting, by_the_clock).fit(method(), batches(4))
    assert by_the_clock.steps == [2, 4]
    for setting in ("every_n_train_steps", "every_n_minutes", "every_n_epochs"):
        with pytest.raises(ValueError, match=f"{setting} must be positive"):
            LastCheckpoint(tmp_path, **{setting: 0})  # type: ignore[arg-type]


def test_sigterm_saves_after_the_batch(tmp_path: Path) -> None:
    last = Steps(tmp_path / "c")
    kill = AtStep(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = [signal.getsignal(signum) for signum in CAUGHT]
    with pytest.raises(SystemExit) as stopped:
        trainer(tmp_path, kill, last).fit(method(), batches(6))
    assert stopped.value.code == 143
    assert last.steps == [3]
    assert [signal.getsignal(signum) for signum in CAUGHT] == before
    position = read_checkpoint(tmp_path / "c" / "last.ckpt")["position"]
    assert (position["epoch"], position["batch"]) == (0, 3)


FORKS = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are forked on Linux only")


@FORKS
def test_sigterm_of_a_worker_ends_the_training_saved(tmp_path: Path) -> None:
    """A worker that was gone at once could hand out no further batch, and a cluster signals to all processes."""
    images = [{k: torch.zeros(3, 16, 16) for k in "AB"} for _ in range(8)]
    loader: DataLoader[Any] = DataLoader(
        images,
        num_workers=1,
        worker_init_fn=settle_worker,
        multiprocessing_context="fork",
        persistent_workers=True,  # type: ignore[arg-type]
    )
    last, workers = LastCheckpoint(tmp_path / "c"), []

    def kill() -> None:
        workers.extend(multiprocessing.active_children())
        os.kill(workers[0].pid, signal.SIGTERM)
        time.sleep(0.3)  # its turn

    with pytest.raises(SystemExit) as stopped:
        trainer(tmp_path, AtStep(3, kill), last).fit(method(), loader)
    assert stopped.value.code == 143
    assert read_checkpoint(last.path)["global_step"] == 3
    del loader
    workers[0].join(timeout=1)
    assert not workers[0].is_alive()


def test_sigusr1_saves_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    last = Steps(tmp_path / "c")
    kill = AtStep(2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    trainer(tmp_path, kill, last).fit(method(), batches(4))
    assert last.steps == [2, 4]
    assert "SIGUSR1: saved in" in capsys.readouterr().err


def test_a_signal_goes_on_to_who_had_it_before(tmp_path: Path) -> None:
    """As submitit, which queues its jobs again on SIGUSR2."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: heard.append(signum))
    try:
        last = Steps(tmp_path / "c")
        kill = AtStep(2, lambda: os.kill(os.getpid(), signal.SIGUSR2))
        trainer(tmp_path, kill, last).fit(method(), batches(4))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]
    assert last.steps == [2, 4]


def test_sigusr1_on_slurm_asks_for_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (commands / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    signals = Signals()
    with pytest.raises(SystemExit) as stopped:
        signals.answer(signal.SIGUSR1, tmp_path / "run/checkpoints/last.ckpt")
    assert stopped.value.code == 0
    assert (tmp_path / "asked").read_text() == "requeue 17\n"


class Score(Callback):
    """Validation figures as they are told."""

    def __init__(self, *scores: float) -> None:
        self.scores = iter(scores)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.log("val/score", next(self.scores))


@pytest.mark.parametrize(
    ("mode", "scores", "step"),
    [("min", (3.0, 1.0, 2.0), 4), ("max", (3.0, 1.0, 2.0), 2), ("min", (float("nan"), 2.0, float("nan")), 4)],
)
def test_best_keeps_the_best(mode: Any, scores: tuple[float, ...], step: int, tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path / "c", monitor="val/score", mode=mode)
    trainer(tmp_path, Score(*scores), best, max_epochs=3).fit(method(), batches(2), batches(1))
    saved = read_checkpoint(best.path)
    assert saved["global_step"] == step
    assert saved["position"]["epoch"] == step // 2
    assert best.score == (max if mode == "max" else min)(s for s in scores if s == s)


def test_best_needs_a_metric_that_exists(tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path / "c", monitor="val/foo")
    with pytest.raises(
        ConfigError, match=r"callbacks.best.monitor=val/foo is not a metric .* val/l1, val/psnr, val/ss"
    ):
        trainer(tmp_path, Quality(), best).fit(method(), batches(2), batches(1))
    with pytest.raises(ValueError, match="mode must be min or max, got 'most'"):
        BestCheckpoint(tmp_path, mode="most")  # type: ignore[arg-type]


def test_a_checkpoint_is_written_in_one_piece(tmp_path: Path) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "c" / "last.ckpt"
    io.save_checkpoint({"a": torch.ones(3)}, path)
    io.save_checkpoint({"a": torch.zeros(3)}, path, storage_options={"previous": tmp_path / "c" / "previous.ckpt"})
    assert sorted(p.name for p in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert torch.equal(io.load_checkpoint(path)["a"], torch.zeros(3))
    assert torch.equal(io.load_checkpoint(path.with_name("previous.ckpt"))["a"], torch.ones(3))
    io.remove_checkpoint(path)
    assert not path.exists()


def cyclegan(**settings: Any) -> CycleGAN:
    torch.manual_seed(0)
    generators = [ResNetGenerator(3, 3, 0, 4) for _ in range(2)]
    return CycleGAN(*generators, *(PatchDiscriminator(3, 4, 1) for _ in range(2)), pool_size=3, **settings)


def test_the_best_checkpoint_has_no_pools_and_can_be_gone_on_from(tmp_path: Path) -> None:
    best, last = BestCheckpoint(tmp_path / "c", monitor="val/score"), LastCheckpoint(tmp_path / "c")
    trainer(tmp_path, Score(1.0), best, last).fit(cyclegan(), batches(4), batches(1))
    with_pools, without = read_checkpoint(last.path), read_checkpoint(best.path)
    assert len(with_pools["ranks"][0]["pools"]["a"]["images"]) == 3
    assert without["ranks"][0]["pools"] is None
    assert last.path.stat().st_size - best.path.stat().st_size > 2 * 3 * (3 * 16 * 16 * 4)
    assert with_pools["optimizer_states"][0]["state"].keys() == without["optimizer_states"][0]["state"].keys()
    resumed = cyclegan()
    again = BestCheckpoint(tmp_path / "d", monitor="val/score")
    trainer(tmp_path, Score(2.0), again, max_epochs=2).fit(
        resumed, batches(4), batches(1), ckpt_path=best.path, weights_only=True
    )
    assert (resumed.d_steps, len(resumed.pool_a), resumed.pool_a.mean_age) == (8, 3, pytest.approx(2.0, abs=1.5))
    # Another folder has no best checkpoint yet, whatever the score was in the first.
    assert read_checkpoint(again.path)["global_step"] == 8


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize(
    ("make", "settings", "stop"),
    [
        (method, {"accumulate": 2}, 4),
        (cyclegan, {"d_steps_per_g_step": 2}, 2),
    ],
)
def test_health_figures_go_on_between_steps(make: Any, settings: Any, stop: int, tmp_path: Path) -> None:
    """Batches that wait, and turns in which the generators do not move, show the figures of the step before."""

    def figures(name: str, limit: int = -1, skip: int = 0, ckpt_path: Path | None = None) -> list[dict[str, float]]:
        seen = Figures()
        health = Health(tmp_path / name, n_images=2)
        callbacks = (health, seen, LastCheckpoint(tmp_path / name))
        trainer(tmp_path, *callbacks, max_steps=limit, log_every_n_steps=1).fit(
            make(**settings), batches(6, skip), ckpt_path=ckpt_path, weights_only=True
        )
        return seen.found

    whole = figures("whole")
    parts = figures("parts", limit=stop)
    parts += figures("rest", skip=stop, ckpt_path=tmp_path / "parts" / "last.ckpt")
    assert parts == whole
    assert any("health/grad_ratio" in found for found in whole)


class Figures(Callback):
    """What `Health` has logged of each batch."""

    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        logged = trainer.callback_metrics.items()
        self.found.append({name: float(value) for name, value in logged if name.startswith("health/")})


def test_a_finished_run_is_made_longer(tmp_path: Path) -> None:
    """To the bit as if it had been that long from the start, where the rates of the first epochs are the same."""

    def fit(name: str, lengths: tuple[int, int], ckpt_path: Path | None = None) -> dict[str, Any]:
        model = method()
        model.schedule_factory = partial(linear, n_epochs=lengths[0], n_epochs_decay=lengths[1])
        last = LastCheckpoint(tmp_path / name)
        trainer(tmp_path, last, max_epochs=sum(lengths)).fit(model, batches(3), ckpt_path=ckpt_path, weights_only=True)
        return read_checkpoint(last.path)

    fit("short", (2, 0))
    longer, alone = fit("longer", (3, 1), ckpt_path=tmp_path / "short" / "last.ckpt"), fit("alone", (3, 1))
    assert alone["optimizer_states"][0]["param_groups"][0]["lr"] == 0.0
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "ranks", "progress", "global_step"):
        assert list(differences(longer[part], alone[part], part)) == []
