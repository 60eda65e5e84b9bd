"""What becomes of the jobs of a sweep, with a training that takes no time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import patchlight.runs.run
from patchlight.config.compose import complete, compose_config
from patchlight.errors import EmptyPatchMapError, OtherRunError, TrainingError
from patchlight.runs.records import Outcome, measured, recorded
from patchlight.sweeps.job import _finished_before
from patchlight.system.job_record import VARIABLE

Behaviour = Callable[[DictConfig], float | None]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Behaviour], list[str]]:
    """Puts a function in the place of training; the folders of the runs that it was called for are listed."""

    def become(behaviour: Behaviour) -> list[str]:
        begun: list[str] = []

        def train(cfg: DictConfig) -> float | None:
            folder = Path(cfg.paths.run_dir)
            begun.append(folder.name)
            with recorded(folder, cfg.objective) as outcome:
                folder.mkdir(parents=True, exist_ok=True)
                OmegaConf.save(cfg, folder / "config.yaml")
                value = behaviour(cfg)
                outcome.objective = measured(cfg.objective, value)
            return value

        monkeypatch.setattr(patchlight.runs.run, "train_checked", train)
        return begun

    return become


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def outcomes(sweep: Path) -> dict[str, Any]:
    return {path.parent.name: json.loads(path.read_text()) for path in sweep.glob("*/outcome.json")}


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.mark.parametrize(("command", "checked"), [(("seed=3",), [3]), (("-m", "seed=3,4"), [3, 4, 3, 4])])
def test_a_configuration_is_validated_once_for_each_job(
    command: tuple[str, ...], checked: list[int], training: Any, patchlight_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a single run before Hydra makes its folder; of a sweep, whose values are looked at first, in the job."""
    seen: list[int] = []
    for module in ("patchlight.cli.train", "patchlight.sweeps.job"):
        monkeypatch.setattr(f"{module}.validate", lambda cfg: seen.append(cfg.seed))
    training(lambda cfg: None)
    assert patchlight_train(*command).status == 0
    assert seen == checked


# Slow: Hydra composes the configurations of three sweeps of four jobs.
@pytest.mark.covered
def test_the_others_go_on_and_the_failed_ones_are_run_again(
    training: Any, patchlight_train: Any, tmp_path: Path
) -> None:
    def some_fail(cfg: DictConfig) -> float:
        if cfg.seed == 1:
            raise TrainingError("train/g_l1 is nan in batch 3")
        if cfg.seed == 2:
            raise RuntimeError("the device\nis gone")
        return 0.25

    command = ("sweep=seeds", "seed=0,1,2,3", "objective=val/l1")
    begun = training(some_fail)
    result = patchlight_train(*command)
    assert result.status == 1
    assert begun == ["seed=0", "seed=1", "seed=2", "seed=3"]
    assert "patchlight-train: train/g_l1 is nan in batch 3\n" in result.err
    assert "Traceback" in result.err
    assert "failed: seed=1: train/g_l1 is nan in batch 3\n" in result.out
    assert "4 jobs: 2 finished, 2 failed, 0 left out" in result.out
    sweep = only(tmp_path / "logs/train/sweeps")
    found = outcomes(sweep)
    assert {name: o["status"] for name, o in found.items()} == {
        "seed=0": "finished", "seed=1": "failed", "seed=2": "failed", "seed=3": "finished",
    }  # fmt: skip
    assert found["seed=0"]["objective"] == {"name": "val/l1", "value": 0.25}
    assert found["seed=0"]["message"] is None
    assert {"seed=0", "sweep=seeds", "objective=val/l1"} <= set(found["seed=0"]["overrides"])
    assert found["seed=1"]["message"] == "train/g_l1 is nan in batch 3"
    assert found["seed=1"]["objective"] == {"name": "val/l1", "value": None}
    assert found["seed=2"]["message"] == "RuntimeError: the device is gone"
    assert 0 <= found["seed=2"]["seconds"] < 60

    begun = training(lambda cfg: 0.5)
    result = patchlight_train(*command)
    assert result.status == 0
    assert begun == ["seed=1", "seed=2"]
    assert "job seed=0 is finished already\n" in result.out
    assert "4 jobs: 4 finished, 0 failed" in result.out
    assert only(tmp_path / "logs/train/sweeps") == sweep
    assert [outcomes(sweep)[f"seed={i}"]["objective"]["value"] for i in range(4)] == [0.25, 0.5, 0.5, 0.25]


def test_jobs_of_several_tasks_lie_in_the_folder_of_their_sweep(
    training: Any, patchlight_train: Any, tmp_path: Path
) -> None:
    """As experiments that are compared, each of which has a task of its own."""
    training(lambda cfg: None)
    result = patchlight_train("-m", "experiment=facades_pix2pix,facades_cyclegan", 'paths.log_dir="a b\'s logs"')
    assert result.status == 0, result.err
    sweep = only(tmp_path / "a b's logs/train/sweeps")
    assert f"2 jobs: 2 finished, 0 failed, 0 left out; in {sweep.relative_to(tmp_path)}" in result.out
    assert sorted(outcomes(sweep)) == ["0", "1"]
    assert [path.name for path in (tmp_path / "a b's logs").iterdir()] == ["train"]


# Slow: Hydra composes the configurations of three sweeps.
def test_more_values_and_another_order_meet_the_same_folders(
    training: Any, patchlight_train: Any, tmp_path: Path
) -> None:
    begun = training(lambda cfg: None)
    norms = "model.discriminator.norm=instance,none"
    assert patchlight_train("sweep=norm", norms, "data.batch_size=2", "model.lambda_l1=10").status == 0
    more = (norms.replace("=", "=batch,"), "model.lambda_l1=10", "sweep=norm", "data.batch_size=2", "resume=auto")
    result = patchlight_train(*more)
    assert result.status == 0
    sweep = only(tmp_path / "logs/train/sweeps")
    assert sweep.name.startswith("norm-")
    assert begun == ["norm=instance", "norm=none", "norm=batch"]
    assert outcomes(sweep).keys() == set(begun)
    assert "3 jobs: 3 finished" in result.out
    cfg: Any = OmegaConf.load(sweep / "norm=none" / "config.yaml")
    assert (cfg.model.generator.norm, cfg.model.discriminator.norm, cfg.resume) == ("none", "none", "auto")
    assert patchlight_train("sweep=norm", norms, "data.batch_size=3", "model.lambda_l1=10").status == 0
    assert len(list((tmp_path / "logs/train/sweeps").iterdir())) == 2


def test_a_plain_sweep_goes_on_in_the_folder_that_is_named(
    training: Any, patchlight_train: Any, tmp_path: Path
) -> None:
    command = ("-m", "seed=3,4", "hydra.sweep.dir=here")
    begun = training(lambda cfg: None)
    assert patchlight_train(*command).status == 0
    result = patchlight_train(*command)
    assert begun == ["0", "1"]
    assert "job 1 (seed=4) is finished already" in result.out
    assert not (tmp_path / "here/.jobs").exists()

    before = outcomes(tmp_path / "here")
    result = patchlight_train("-m", "seed=3,4,5", "data.batch_size=7", "hydra.sweep.dir=here")
    assert result.status == 1
    assert begun == ["0", "1", "2"]
    assert "here/0 holds another run, which would be lost (data.batch_size=7, and there 1)" in result.err
    assert {name: o for name, o in outcomes(tmp_path / "here").items() if name != "2"} == before
    assert "3 jobs: 1 finished, 2 failed" in result.out


def test_a_finished_job_goes_on_to_a_new_end_if_told_so(tmp_path: Path) -> None:
    def job(*overrides: str) -> DictConfig:
        return compose_config("train", [f"paths.run_dir={tmp_path}", *overrides])

    finished = job()
    complete(finished)
    OmegaConf.save(finished, tmp_path / "config.yaml")
    Outcome().write(tmp_path)
    assert _finished_before(job("resume=auto"), tmp_path) == Outcome()
    longer = job("model.schedule.n_epochs=150")
    with pytest.raises(
        OtherRunError, match="and there .* go on with it to its new end by resume=auto, or choose anoth"
    ):
        _finished_before(longer, tmp_path)
    longer.resume = "auto"
    assert _finished_before(longer, tmp_path) is None
    longer.seed = 7
    with pytest.raises(OtherRunError, match=r"\(seed=7, and there 0\): choose another folder"):
        _finished_before(longer, tmp_path)


def test_what_was_stopped_goes_on_from_its_checkpoint(training: Any, patchlight_train: Any) -> None:
    """A signal ends the whole sweep, and leaves no outcome."""
    resumed = []

    def stop_once(cfg: DictConfig) -> None:
        resumed.append(cfg.resume)
        if len(resumed) == 2:
            raise SystemExit(143)

    begun = training(stop_once)
    command = ("-m", "seed=0,1,2", "hydra.sweep.dir=here")
    assert patchlight_train(*command).status == 143
    assert begun == ["0", "1"]
    assert list(outcomes(Path("here"))) == ["0"]
    assert patchlight_train(*command).status == 0
    assert begun == ["0", "1", "1", "2"]
    assert resumed == [None, None, "auto", None]

    def interrupt(cfg: DictConfig) -> None:
        raise KeyboardInterrupt

    begun = training(interrupt)
    with pytest.raises(KeyboardInterrupt):
        patchlight_train("-m", "seed=0,1", "hydra.sweep.dir=there")
    assert begun == ["0"]


@pytest.mark.parametrize(
    ("sweep", "status", "ended"),
    [
        (("sweep=patch_size", "model/discriminator=patch16,patch70"), 0, "0 failed, 2 left out"),
        (("-m", "model.discriminator.n_layers=1,2"), 0, "0 failed, 2 left out"),
        (("sweep=seeds",), 1, "3 failed, 0 left out"),
    ],
)
def test_an_empty_patch_map_is_left_out_where_discriminators_are_compared(
    sweep: tuple[str, ...], status: int, ended: str, training: Any, patchlight_train: Any
) -> None:
    def empty(cfg: DictConfig) -> None:
        raise EmptyPatchMapError("model.discriminator leaves an empty patch map")

    training(empty)
    result = patchlight_train(*sweep)
    assert result.status == status
    assert ended in result.out
    assert ("left out: model.discriminator leaves an empty patch map" in result.err) == (status == 0)


def test_a_single_run_that_fails_is_one_line(training: Any, patchlight_train: Any, tmp_path: Path) -> None:
    def fail(cfg: DictConfig) -> None:
        raise TrainingError("the disk is full")

    training(fail)
    result = patchlight_train("hydra.run.dir=run")
    assert (result.status, result.out, result.err) == (1, "", "patchlight-train: the disk is full\n")
    found = Outcome.read(tmp_path / "run")
    assert found is not None
    assert (found.status, found.message, found.objective) == ("failed", "the disk is full", None)
    assert found.overrides == []


# Slow: Hydra composes the configuration of each trial anew, and Optuna keeps a database.
def test_a_search_that_was_stopped_makes_what_is_left(training: Any, patchlight_train: Any, tmp_path: Path) -> None:
    """The trial that was running is made again with its values; one that fails or is not a number is the worst."""
    optuna = pytest.importorskip("optuna")
    values: list[float] = []

    def train(cfg: DictConfig) -> float:
        values.append(cfg.model.optimizer.lr)
        match len(values):
            case 2:
                raise TrainingError("no")
            case 3:
                return math.nan
            case 4:
                raise SystemExit(143)
        return float(cfg.model.optimizer.lr)

    command = ("sweep=optuna", "hydra.sweeper.n_trials=6")
    begun = training(train)
    assert patchlight_train(*command).status == 143
    assert len(begun) == 4
    sweep = only(tmp_path / "logs/train/sweeps")
    result = patchlight_train(*command)
    assert result.status == 0, result.err
    assert "going on with the search: 3 of 6 trials are there\n" in result.out
    assert len(begun) == 7
    assert begun[4] == begun[3]
    assert values[4] == values[3]
    assert len({*begun[:3], *begun[4:]}) == 6
    assert only(tmp_path / "logs/train/sweeps") == sweep
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{sweep}/optuna.db")
    trials = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{sweep}/optuna.db").trials
    complete = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
    assert complete == [values[0], math.inf, math.inf, *values[4:]]
    assert f"best of all: {min(values[0], *values[4:])} with" in result.out

    result = patchlight_train(*command)
    assert result.status == 0, result.err
    assert len(begun) == 7
    assert patchlight_train("sweep=optuna", "hydra.sweeper.n_trials=7").status == 0
    assert len(begun) == 8


WRONG = {
    "objective=val/l": "objective=val/l is no figure of this run: did you mean val/l1? there are val/l1, val/psnr",
    "objective=l1": "objective=l1 is no figure of this run: did you mean val/l1?",
    "objective=null": "objective is not set, by which the sweep would choose",
    "objective=test/psnr": "objective=test/psnr is better the higher it is: give hydra.sweeper.direction=maximize",
    "hydra.sweeper.direction=maximize": "objective=val/l1 is better the lower it is: give hydra.sweeper.direction=min",
    "hydra.sweeper.direction=[minimize,maximize]": "a run has one objective, so give one direction",
    "~callbacks.quality": "objective=val/l1 is a figure of callbacks.quality, which is not there",
    "model.gan_mode=lsgan,lsga": "model.gan_mode=lsga should be",
    "model.optimizer.lr=interval(abc,1)": "cannot be read: write key=value",
}


@pytest.mark.covered
@pytest.mark.parametrize("override", WRONG)
def test_a_search_is_checked_before_it_starts(
    override: str, training: Any, patchlight_train: Any, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    begun = training(lambda cfg: 0.0)
    result = patchlight_train("sweep=optuna", override)
    assert result.status == 1
    assert WRONG[override] in result.err
    assert result.err.count("\n") == 1
    assert begun == []
    assert not (tmp_path / "logs").exists()
