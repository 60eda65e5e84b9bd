"""The same calls reach W&B and TensorBoard, and leave metrics.csv alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_files import read_runs

from patchlight.errors import ConfigError
from patchlight.loggers import (
    MetricsCSV,
    TensorBoardRun,
    WandbRun,
    alert,
    log_checkpoints,
    log_histograms,
    log_pictures,
    wandb_id,
)

CONFIG = {"seed": 3, "model": {"gan_mode": "lsgan", "lambda_l1": 100.0}, "tags": ["a"], "resume": None}
PICTURE = Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))


def log_everything(loggers: Any, checkpoint: Path) -> None:
    for logger in loggers:
        logger.log_metrics({"train/g_l1": 0.5, "images_seen": 8.0}, step=3)
        logger.log_metrics({"lr/g": 0.1}, step=4)
    log_pictures(loggers, {"samples": PICTURE, "maps/d": PICTURE.convert("L")}, step=4, images_seen=10)
    values = torch.tensor([[0.0, 1.0], [float("nan"), 3.0]], requires_grad=True)
    log_histograms(loggers, {"scores/d": values, "scores/none": torch.full((2,), float("inf"))}, 4, 10)
    alert(loggers, "d_acc is not normal", "Batch 4: look at it.")
    log_checkpoints(loggers, [checkpoint, checkpoint.with_name("never_written.ckpt")])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    return tmp_path / "best.ckpt"


def test_wandb(tmp_path: Path, checkpoint: Path) -> None:
    run = WandbRun(save_dir=tmp_path, group="g", job_type="train", name="n", tags=["x"], offline=True, log_model=True)
    run.open(CONFIG)
    log_everything([run], checkpoint)
    run.finalize("success")
    run.close(0)
    (found,) = read_runs(tmp_path)
    assert (found.id, found.group, found.job_type, found.name) == (wandb_id([run]), "g", "train", "n")
    assert (found.tags, found.exit_code) == (("x",), 0)
    assert {key: found.config[key] for key in CONFIG} == CONFIG
    assert found.axes["*"] == "trainer/global_step"
    assert "images_seen" in found.axes
    axes = [(row["trainer/global_step"], row["images_seen"]) for row in found.history]
    assert axes == [(3, 8), (4, 8), (4, 10), (4, 10)]
    assert sorted(name for name, _ in found.images) == ["maps/d", "samples"]
    with Image.open(dict(found.images)["samples"]) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(PICTURE))
    histogram = found.history[3]["scores/d"]
    assert sum(histogram["values"]) == 3
    assert (histogram["bins"][0], histogram["bins"][-1]) == (0, 3)
    assert "scores/none" not in found.history[3]
    assert found.alerts == [("d_acc is not normal", "Batch 4: look at it.")]
    assert found.artifacts == [(f"model-{found.id}", ("best", "latest"), ("best.ckpt",))]


def test_wandb_keeps_checkpoints_only_where_it_is_asked_to(tmp_path: Path, checkpoint: Path) -> None:
    run = WandbRun(save_dir=tmp_path, offline=True)
    run.open(CONFIG)
    log_checkpoints([run], [checkpoint])
    run.close(1)
    (found,) = read_runs(tmp_path)
    assert (found.artifacts, found.exit_code) == ([], 1)


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"histograms": 0, "images": 0, "scalars": 0, "tensors": 0})
    found.Reload()
    return found


def test_tensorboard(tmp_path: Path, checkpoint: Path) -> None:
    run = TensorBoardRun(tmp_path / "tensorboard")
    run.open(CONFIG)
    log_everything([run], checkpoint)
    run.finalize("success")
    run.close(0)
    found = events(tmp_path / "tensorboard")
    assert [(e.step, e.value) for e in found.Scalars("train/g_l1")] == [(3, 0.5)]
    assert [(e.step, e.value) for e in found.Scalars("images_seen")] == [(3, 8)]
    assert [(e.step, e.width, e.height) for e in found.Images("maps/d")] == [(4, 6, 4)]
    (histogram,) = found.Histograms("scores/d")
    assert (histogram.step, histogram.histogram_value.num, histogram.histogram_value.max) == (4, 3, 3)
    assert "scores/none" not in found.Tags()["histograms"]
    (text,) = found.Tensors("config/text_summary")
    assert b"gan_mode: lsgan" in text.tensor_proto.string_val[0]
    (text,) = found.Tensors("alerts/text_summary")
    assert b"Batch 4: look at it." in text.tensor_proto.string_val[0]
    assert "_hparams_/session_start_info" in found.summary_metadata


def test_tensorboard_hides_what_was_logged_after_the_checkpoint(tmp_path: Path) -> None:
    for steps in (range(6), range(3, 8)):
        run = TensorBoardRun(tmp_path)
        run.open(CONFIG)
        for step in steps:
            run.log_metrics({"x": step + steps.start / 10}, step=step)
        run.close(0)
    values = {e.step: round(e.value, 3) for e in events(tmp_path).Scalars("x")}
    assert values == {0: 0, 1: 1, 2: 2, 3: 3.3, 4: 4.3, 5: 5.3, 6: 6.3, 7: 7.3}


def test_tensorboard_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^logger=tensorboard needs TensorBoard: pip install 'patchlight\[tensorb"):
        TensorBoardRun(tmp_path)


def test_the_table_takes_only_figures(tmp_path: Path, checkpoint: Path) -> None:
    table = MetricsCSV(tmp_path)
    log_everything([table], checkpoint)
    assert table.flushed_rows() == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "metrics.csv"]


@pytest.mark.parametrize("make", [lambda f: WandbRun(f, offline=True), TensorBoardRun], ids=["wandb", "tensorboard"])
def test_an_alert_never_stops_a_training(
    make: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = make(tmp_path)
    monkeypatch.setattr(type(logger), "experiment", property(lambda self: 1 / 0))
    alert([logger], "title", "text")


def test_a_run_in_a_row_of_runs_is_its_own(tmp_path: Path) -> None:
    for number in range(3):
        run = WandbRun(save_dir=tmp_path / str(number), offline=True)
        run.open({"number": number})
        run.log_metrics({"x": 1.0}, step=number)
        run.close(number % 2)
    found = [read_runs(tmp_path / str(number)) for number in range(3)]
    assert [len(runs) for runs in found] == [1, 1, 1]
    assert len({run.id for (run,) in found}) == 3
    assert [(run.config["number"], run.exit_code, len(run.history)) for (run,) in found] == [
        (0, 0, 1), (1, 1, 1), (2, 0, 1),
    ]  # fmt: skip
