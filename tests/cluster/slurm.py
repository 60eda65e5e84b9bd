"""A real SLURM cluster on the loopback interface, started for a test and stopped after it."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .hosts import under_name

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
FINISHED = frozenset(
    ["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"]
)
# The longest name of a socket below the folder is slurmd's for a job step, and a socket's path has at most 107 bytes.
LONGEST_FOLDER = 107 - 2 * len("/a-name-of-a-host-2") - len("/spool_99999.4294967291")

# cred_expire is also how long a requeued job waits before it starts again: 120 seconds unless told.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5

StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
MailProg=/bin/true

ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none

SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
KillWait=20
MinJobAge=3600
ReturnToService=2

SlurmdParameters=config_overrides
PartitionName=main Nodes=ALL Default=YES
"""
NODE = "NodeName={name} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=16000\n"

# The real sacct needs a database. Launchers ask it which of their jobs have ended, and squeue knows that here.
SACCT = """\
#!/bin/sh
echo "JobID|State|NodeList"
exec squeue --states=all --noheader --format="%i|%T|%N"
"""

MUNGE_FILES = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}


def missing_programs() -> list[str]:
    """Which of the programs that a cluster needs are not on PATH."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@dataclass(frozen=True)
class Cluster:
    """A running cluster: commands that are given `environment` speak to it."""

    folder: Path
    environment: dict[str, str]

    def submit(self, script: Path, *arguments: str, options: Sequence[str] = ()) -> str:
        """Submit a batch script with its arguments and return the job's id.

        The job's folder is `folder`, where its output goes to slurm-ID.out, unless `options` of sbatch say otherwise.
        """
        return self._run("sbatch", "--parsable", *options, str(script), *arguments).strip().partition(";")[0]

    def requeue(self, job_id: str) -> None:
        """Stop a running job as a preemption does and put it back in the queue, where it waits for a few seconds."""
        self._run("scontrol", "requeue", job_id)

    def jobs(self) -> dict[str, str]:
        """The states of all jobs, finished ones included, by id (array jobs: one id for each element)."""
        lines = self._run("squeue", "--states=all", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def state(self, job_id: str) -> str:
        """The state of one job, as squeue writes it, such as RUNNING."""
        return self.jobs()[job_id]

    def wait(self, job_id: str, states: Collection[str] = FINISHED, timeout: float = 60) -> str:
        """Wait until the job is in one of the states and return it; a job that finished in another one is an error."""
        deadline = time.monotonic() + timeout
        while (state := self.state(job_id)) not in states:
            if state in FINISHED:
                raise RuntimeError(f"Job {job_id} ended as {state}, not {sorted(states)}:\n{self._describe(job_id)}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Job {job_id} is {state} after {timeout:g} s:\n{self._describe(job_id)}")
            time.sleep(0.2)
        return state

    def _describe(self, job_id: str) -> str:
        return self._run("scontrol", "show", "job", job_id)

    def _run(self, *command: str) -> str:
        result = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
        )
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {result.stderr.strip()}")
        return result.stdout


@contextmanager
def cluster_of(n_nodes: int, folder: Path) -> Iterator[Cluster]:
    """Start munged, slurmctld and slurmd as the current user, with all files below `folder`, and stop them at the end.

    Each node is a slurmd that pretends to have 4 CPUs, so that jobs of several tasks start on any machine. A second one
    needs root, since SLURM allows one for each name of a host, and its processes get a name of their own.
    """
    host = socket.gethostname().partition(".")[0]
    nodes = [host, f"{host}-2"][:n_nodes]
    folder = folder.resolve()
    if len(str(folder)) > LONGEST_FOLDER:
        raise ValueError(f"{folder} is too long for the sockets below it: {LONGEST_FOLDER} characters at most")
    _write_files(folder, nodes)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH", "SRUN"))}
    environment["SLURM_CONF"] = str(folder / "slurm.conf")
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    cluster = Cluster(folder, environment)
    munge = folder / "munge"
    commands = [
        ["munged", "--foreground", "--force", *(f"--{option}={munge / file}" for option, file in MUNGE_FILES.items())],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
        *([*under_name(name, folder / "hosts"), "slurmd", "-D"] for name in nodes[1:]),
    ]
    with ExitStack() as stack:
        stack.callback(_kill_jobs, environment["SLURM_CONF"])
        daemons = {" ".join(command): stack.enter_context(_daemon(command, cluster)) for command in commands}
        _wait_for_nodes(n_nodes, cluster, daemons)
        yield cluster


def _write_files(folder: Path, nodes: Sequence[str]) -> None:
    for name in ("bin", "munge", "state", *(f"spool/{node}" for node in nodes)):
        (folder / name).mkdir(parents=True)
    (folder / "hosts").write_text(Path("/etc/hosts").read_text() + "".join(f"127.0.0.1 {name}\n" for name in nodes))
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    sacct = folder / "bin" / "sacct"
    sacct.write_text(SACCT)
    sacct.chmod(0o755)
    controller_port, *ports = _free_ports(1 + len(nodes))
    lines = [NODE.format(name=name, port=port) for name, port in zip(nodes, ports, strict=True)]
    user = pwd.getpwuid(os.getuid()).pw_name
    settings = CONFIGURATION.format(folder=folder, host=nodes[0], user=user, controller_port=controller_port)
    (folder / "slurm.conf").write_text(settings + "".join(lines))
    # "disabled" is documented since 24.05. Versions before it load a plugin, and v1 needs no cgroups to load.
    plugin = "disabled" if _version() >= (24, 5) else "cgroup/v1"
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")


def _version() -> tuple[int, ...]:
    """The major and minor number of the installed SLURM, from a line such as "slurm-wlm 22.05.8"."""
    answer = subprocess.run(["slurmd", "-V"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in answer.split()[-1].split(".")[:2])


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _daemon(command: Sequence[str], cluster: Cluster) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground of its own session, out of reach of the terminal's Ctrl-C."""
    with (cluster.folder / f"{command[0]}.out").open("ab") as output:
        process = subprocess.Popen(
            command,
            env=cluster.environment,
            cwd=cluster.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()  # nothing that it would save is of use, and slurmd would wait for jobs that are ending
        process.wait()


def _wait_for_nodes(
    n_nodes: int, cluster: Cluster, daemons: Mapping[str, subprocess.Popen[bytes]], timeout: float = 60
) -> None:
    """Wait until the controller answers and its nodes are idle."""
    deadline = time.monotonic() + timeout
    command = ["scontrol", "show", "node", "--oneliner"]
    while True:
        found = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False).stdout
        if found.count("State=IDLE ") == n_nodes:
            return
        ended = [name for name, daemon in daemons.items() if daemon.poll() is not None]
        if ended or time.monotonic() > deadline:
            reason = f"{', '.join(ended)} ended" if ended else f"not all nodes are idle after {timeout:g} s"
            logs = "\n".join(f"{path}:\n{path.read_text()}" for path in sorted(cluster.folder.glob("*.out")))
            raise RuntimeError(f"The cluster did not start: {reason}.\n{found}\n{logs}")
        time.sleep(0.2)


def _kill_jobs(slurm_conf: str) -> None:
    """Kill what the stopped daemons left running: slurmstepd, scripts, tasks and commands all carry SLURM_CONF."""
    mark = f"SLURM_CONF={slurm_conf}".encode()
    for _ in range(100):
        found = False
        for path in Path("/proc").glob("[0-9]*/environ"):
            process = int(path.parent.name)
            with suppress(OSError):  # ended meanwhile, or another user's
                if process != os.getpid() and mark in path.read_bytes().split(b"\0"):
                    os.kill(process, signal.SIGKILL)
                    found = True
        if not found:
            return
        time.sleep(0.05)
