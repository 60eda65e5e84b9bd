from __future__ import annotations

import pytest

from patchlight.config.naming import VARIABLE, choose_run_id, run_id
from patchlight.system.distributed import was_launched


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    for name in ("SLURM_STEP_NUM_TASKS", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_tasks_of_a_slurm_step_choose_the_same_also_after_a_requeue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NUM_TASKS", "2"), ("ID", "3")):
        monkeypatch.setenv(f"SLURM_STEP_{name}", value)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert choose_run_id() == run_id() == "slurm-17-3"


def test_a_single_task_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert choose_run_id() != choose_run_id()
    assert not was_launched()


def test_processes_of_a_launcher_have_the_id_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose_run_id()
    assert run_id() == chosen
    monkeypatch.setenv(VARIABLE, "")
    assert run_id() != chosen
