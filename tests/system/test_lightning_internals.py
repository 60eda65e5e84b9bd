"""What this package takes for granted of Lightning's private parts: a release that changes one of them fails here."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn

from patchlight.system.lightning_internals import (
    LoopPosition,
    SubprocessLauncher,
    call_optimizer_hooks,
    count_batch,
    set_batch,
    set_batches_logged,
    share_threads,
    silent_experiment,
)


class Manual(LightningModule):
    """Two optimizers that step in every batch, past Lightning's counter."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
        self.hooks = 0
        self.begun: list[tuple[int, int]] = []

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in self.layers]

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.ones(4, 1))  # type: ignore[arg-type]

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.begun.append((self.current_epoch, batch_idx))
        for optimizer, layer in zip(self.trainer.optimizers, self.layers, strict=True):
            layer(batch).sum().backward()
            call_optimizer_hooks(self, optimizer)
            optimizer.step()
        count_batch(self.trainer)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.hooks += 1


class Positions(Callback):
    """The position after each batch, and in the checkpoint of the end of each epoch."""

    def __init__(self) -> None:
        self.found: list[LoopPosition] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.found.append(LoopPosition.of(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.found.append(LoopPosition.of(trainer))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        LoopPosition.of(trainer).store(checkpoint)


def fit(method: Manual, max_steps: int, *callbacks: Callback, ckpt: Path | None = None) -> Trainer:
    trainer = Trainer(
        accelerator="cpu", max_steps=max_steps, max_epochs=5, callbacks=list(callbacks), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, ckpt_path=ckpt, weights_only=True)
    return trainer


@pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before")
def test_counters_of_the_loops(tmp_path: Path) -> None:
    method, positions = Manual(), Positions()
    trainer = fit(method, 6, positions)
    assert trainer.global_step == 6
    assert method.hooks == 12
    within = [LoopPosition(e, b, 4 * e + b) for e in (0, 1) for b in (1, 2, 3, 4)]
    assert [p for p in positions.found if p.batch] == [*within[:4], *within[4:6], LoopPosition(1, 2, 6)]
    assert positions.found[4] == LoopPosition(1, 0, 4)
    trainer.save_checkpoint(tmp_path / "six.ckpt")

    resumed = Manual()
    trainer = fit(resumed, 9, positions, ckpt=tmp_path / "six.ckpt")
    assert trainer.global_step == 9
    assert resumed.begun[0] == (1, 2)
    loop = trainer.fit_loop.epoch_loop
    assert loop._batches_that_stepped == 9
    loop._batches_that_stepped += 1
    set_batches_logged(trainer)
    assert loop._batches_that_stepped == 9

    class Begin(Callback):
        def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
            set_batch(checkpoint, 1)

    again = Manual()
    fit(again, 7, Begin(), ckpt=tmp_path / "six.ckpt")
    assert again.begun == [(1, 1)]


def test_an_interrupted_trainer_kills_the_ranks_of_its_launcher(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []
    launcher = SubprocessLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    monkeypatch.setattr(launcher, "kill", killed.append)
    monkeypatch.setattr(launcher, "launch", lambda function, *args, trainer, **kwargs: function(*args, **kwargs))
    monkeypatch.setattr(SingleDeviceStrategy, "launcher", launcher, raising=False)

    class Interrupt(Callback):
        def on_train_start(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        fit(Manual(), 1, Interrupt())
    assert killed == [signal.SIGKILL]


def test_threads_are_shared_unless_their_number_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    share_threads(10_000)
    assert (os.environ["OMP_NUM_THREADS"], torch.get_num_threads()) == ("3", before)
    monkeypatch.delenv("OMP_NUM_THREADS")
    try:
        share_threads(10_000)
        assert (os.environ["OMP_NUM_THREADS"], torch.get_num_threads()) == ("1", 1)
    finally:
        torch.set_num_threads(before)


def test_a_silent_experiment_takes_every_call() -> None:
    assert silent_experiment().anything(1, key=2) is None
