from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from patchlight.errors import TrainingError
from patchlight.runs.records import LENGTHS, Objective, Outcome, first_difference, measured, recorded


def test_what_ends_well_is_recorded_at_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with recorded(folder, "val/l1") as outcome:
        assert not folder.exists()
        outcome.objective = measured("val/l1", 0.5)
    found = json.loads((folder / "outcome.json").read_text())
    assert 0 <= found.pop("seconds") < 60
    assert found.pop("overrides") is not None
    assert found == {"status": "finished", "message": None, "objective": {"name": "val/l1", "value": 0.5}}
    assert Outcome.read(folder) == outcome


def test_what_is_stopped_is_not(tmp_path: Path) -> None:
    Outcome().write(tmp_path)
    with pytest.raises(SystemExit), recorded(tmp_path, None):
        raise SystemExit(143)
    assert Outcome.read(tmp_path) is None


def test_what_fails_is_recorded_and_raised(tmp_path: Path) -> None:
    with pytest.raises(KeyError), recorded(tmp_path, "val/l1"):
        raise KeyError("x")
    found = Outcome.read(tmp_path)
    assert found is not None
    assert (found.status, found.message, found.objective) == ("failed", "KeyError: 'x'", Objective("val/l1", None))


def test_only_finite_figures_are_kept() -> None:
    assert measured("val/l1", math.nan) == measured("val/l1", math.inf) == Objective("val/l1", None)
    assert measured(None, 1.0) is None


@pytest.mark.parametrize("content", [None, "", "[1]", '{"status": "finished"}', '{"objective": null, "x": 1}'])
def test_an_outcome_that_cannot_be_read_is_none(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "outcome.json").write_text(content)
    assert Outcome.read(tmp_path) is None


def test_an_outcome_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/outcome.json cannot be written"):
        Outcome().write(tmp_path / "file")


def test_the_first_key_that_differs_is_named(tmp_path: Path) -> None:
    before: dict[str, Any] = {
        "seed": 1, "resume": None, "model": {"lr": 1.0, "betas": [0.5, 0.9], "penalties": {}},
        "trainer": {"limit_val_batches": 0}, "paths": {"run_dir": "/before/0"}, "samples": "/before/0/samples",
    }  # fmt: skip
    now = {**before, "resume": "auto", "trainer": {"limit_val_batches": 1.0}, "paths": {"run_dir": "/now/0"}}
    now["samples"] = "/now/0/samples"
    assert first_difference(OmegaConf.create(now), tmp_path) is None
    OmegaConf.save(OmegaConf.create(before), tmp_path / "config.yaml")

    def difference(**changed: Any) -> str | None:
        return first_difference(OmegaConf.create({**now, **changed}), tmp_path)

    assert difference() is None
    assert difference(seed=2) == "seed=2, and there 1"
    longer = OmegaConf.create({**now, "trainer": {"limit_val_batches": 1.0, "max_steps": 9}})
    assert first_difference(longer, tmp_path) == "trainer.max_steps=9, and there not set"
    assert first_difference(longer, tmp_path, apart_from=LENGTHS) is None
    assert difference(model={"lr": 1.0, "betas": [0.5, 0.99], "penalties": {}}) == (
        "model.betas=[0.5, 0.99], and there [0.5, 0.9]"
    )
    whole = (tmp_path / "config.yaml").read_text()
    for part in ("", "seed: 1\n", "seed: [1,\n", "- 1\n"):
        (tmp_path / "config.yaml").write_text(part)
        assert difference(seed=2) is None
    (tmp_path / "config.yaml").write_text(whole)
    assert difference(extra=3) == "extra=3, and there not set"
    assert difference(model={"lr": 1.0, "betas": [0.5, 0.9]}) == "model.penalties=not set, and there {}"
