"""The test cluster does what a real one does to its jobs: starts their tasks, stops them and starts them again."""

import time
from pathlib import Path

import pytest

from .slurm import Cluster, missing_programs

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not on PATH: {', '.join(missing_programs())}"),
]

TWO_TASKS = """\
#!/bin/bash
srun --ntasks=2 bash -c 'echo "task $SLURM_PROCID of $SLURM_NTASKS"'
"""

# A task ends by itself only in the second run; in the first one it waits for SIGTERM.
UNTIL_STOPPED = """\
#!/bin/bash
#SBATCH --open-mode=append
srun --ntasks=2 bash -c '
trap "echo task $SLURM_PROCID got SIGTERM; exit 0" TERM
echo "task $SLURM_PROCID starts, restarts: ${SLURM_RESTART_COUNT:-none}"
touch started-$SLURM_PROCID
until [ -n "$SLURM_RESTART_COUNT" ]; do sleep 0.1; done'
"""


def script(cluster: Cluster, text: str) -> Path:
    path = cluster.folder / "job.sh"
    path.write_text(text)
    return path


def lines(cluster: Cluster, job: str) -> list[str]:
    """What the job's tasks wrote."""
    return [line for line in (cluster.folder / f"slurm-{job}.out").read_text().splitlines() if line.startswith("task")]


def wait_for(*files: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline, "the tasks do not start"
        time.sleep(0.1)


def test_a_job_of_two_tasks_runs(cluster):
    job = cluster.submit(script(cluster, TWO_TASKS), options=["--ntasks=2"])

    assert cluster.wait(job) == "COMPLETED"
    assert sorted(lines(cluster, job)) == ["task 0 of 2", "task 1 of 2"]


def test_a_requeued_job_gets_sigterm_in_its_tasks_and_runs_again(cluster):
    job = cluster.submit(script(cluster, UNTIL_STOPPED), options=["--ntasks=2"])
    wait_for(cluster.folder / "started-0", cluster.folder / "started-1")

    cluster.requeue(job)

    assert cluster.wait(job) == "COMPLETED"
    written = lines(cluster, job)
    assert sorted(written[:2]) == [f"task {task} starts, restarts: none" for task in (0, 1)]
    assert sorted(written[2:4]) == [f"task {task} got SIGTERM" for task in (0, 1)]
    assert sorted(written[4:]) == [f"task {task} starts, restarts: 1" for task in (0, 1)]
