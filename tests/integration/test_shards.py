"""Trainings on a set in shards that a server has, which is away for a while, or for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import Typed
from object_server import serving

SMALL = (
    "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "model.discriminator.n_layers=1", "data.image_size=32", "data.load_size=36", "logger=csv", "trainer=cpu",
    "model.schedule.n_epochs=2", "model.schedule.n_epochs_decay=2", "trainer.log_every_n_steps=1", "data=paired",
    "callbacks.patch_maps=null", "data/source=shards", "data.source.window=2", "data.cache=0",
)  # fmt: skip


def weights(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return loaded


# Six trainings, one of which waits for its server.
@pytest.mark.slow
def test_training_waits_for_its_server_and_ends_with_one_message(
    typed: Typed, tiny_sets: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    written = typed("shard", f"data={tiny_sets('paired')}", "output=served/set", "shard_mb=0.001", "val_size=2")
    assert written.status == 0, written.err
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-key")
    with serving(tmp_path / "served") as server:
        here = (*SMALL, f"data.root={tmp_path / 'served' / 'set'}", "data.num_workers=0")
        there = (*SMALL, f"data.root={server}/set", "data.source.cache_dir=cache", "data.source.retry_s=60")
        assert typed("train", *here, "hydra.run.dir=here").status == 0
        whole = weights(tmp_path / "here")

        def same(run: str) -> bool:
            found = weights(tmp_path / run)["state_dict"]
            return all(torch.equal(found[key], value) for key, value in whole["state_dict"].items())

        # Within an epoch, by workers, and with another number of them after the stop.
        stopped = ("resume=auto", "hydra.run.dir=stopped")
        assert typed("train", *there, *stopped, "trainer.max_steps=3", "data.num_workers=1").status == 0
        assert weights(tmp_path / "stopped")["global_step"] == 3
        assert typed("train", *there, *stopped, "data.num_workers=0").status == 0
        assert same("stopped")

        server.down = True
        threading.Timer(8.0, lambda: setattr(server, "down", False)).start()
        away = typed("train", *there, "data.source.cache_dir=empty", "data.num_workers=1", "hydra.run.dir=away")
        assert away.status == 0, away.err
        assert same("away")

        # The index and the first window come, and then nothing more.
        lost = ("resume=auto", "hydra.run.dir=lost", "data.source.cache_dir=other", "data.num_workers=0")
        server.only, server.wrong = ".array_record", [200] * 4 + [503] * 999
        outcome = typed("train", *there, *lost, "data.source.retry_s=1", "callbacks.last.every_n_train_steps=1")
        assert outcome.status == 1
        told = [line for line in outcome.err.splitlines() if "cannot be fetched" in line]
        assert len(told) == 1, outcome.err
        assert "Traceback" not in outcome.err
        assert "the server answers 503" in told[0]
        assert 0 < weights(tmp_path / "lost")["global_step"] < whole["global_step"]
        server.wrong = []
        assert typed("train", *there, *lost).status == 0
        assert same("lost")
    texts = [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".yaml", ".json", ".ckpt", ".csv")
    ]
    assert texts
    assert not any(b"hidden-key" in path.read_bytes() for path in texts)
