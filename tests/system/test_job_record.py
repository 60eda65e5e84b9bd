"""What a command hands on to its processes, and the jobs of a sweep show it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from patchlight.system.job_record import FOLDER, VARIABLE, JobRecord, begin_command, clear_jobs, run_id


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    for name in ("SLURM_STEP_NUM_TASKS", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_tasks_of_a_slurm_step_choose_the_same_also_after_a_requeue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NUM_TASKS", "2"), ("ID", "3")):
        monkeypatch.setenv(f"SLURM_STEP_{name}", value)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert begin_command().run_id == run_id() == "slurm-17-3"


def test_a_single_task_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert begin_command() != begin_command()


def test_processes_of_a_command_have_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    record = replace(begin_command(), sweep="seeds-1a2b", swept=("seed", "model/generator"), modules=("/a: b", "/c"))
    assert JobRecord.current() != record
    record.hand_on()
    assert JobRecord.current() == record
    assert [name for name in os.environ if name.startswith("PATCHLIGHT_") and name != "PATCHLIGHT_SHARED"] == [VARIABLE]
    monkeypatch.setenv(VARIABLE, "")
    assert run_id() != record.run_id


def test_a_command_finds_the_jobs_that_are_its_own(tmp_path: Path) -> None:
    command, other = JobRecord("mine"), JobRecord("other", number=1)
    first, tenth = replace(command, number=2, label="seed=0"), replace(command, number=10)
    for record in (tenth, first, other):
        record.write(tmp_path)
    assert command.jobs(tmp_path) == [first, tenth]
    ended = replace(first, outcome={"status": "finished", "objective": None})
    ended.write(tmp_path)
    tenth.remove(tmp_path)
    assert command.jobs(tmp_path) == [ended]
    clear_jobs(tmp_path)
    clear_jobs(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    assert command.jobs(tmp_path) == []
