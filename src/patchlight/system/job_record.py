"""The record of a job: what a command, the processes of its jobs and their ranks know in common. Imports nothing heavy.

The command writes it into one environment variable, which every process that it starts inherits, on this machine or on
a cluster. A job of a sweep writes it into `.jobs/` in the sweep's folder when it begins and, with its outcome, when it
has ended: there the command finds it. The folders of modules of a user's own are in it, too.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from patchlight.system.files import write_json

VARIABLE = "PATCHLIGHT_JOB"

FOLDER = ".jobs"


@dataclass(frozen=True)
class JobRecord:
    """A command and, in a sweep, one of its jobs."""

    run_id: str
    """Names the folder of the command's run: the time and six random digits, or the numbers of SLURM's job and step."""

    sweep: str | None = None
    """The name of the sweep's folder, where it has one of its own."""

    swept: tuple[str, ...] = ()
    """The keys that differ from job to job."""

    modules: tuple[str, ...] = ()
    """The folders in which modules of the user's own are looked for; none: the current one."""

    number: int | None = None
    """Hydra's number of the job."""

    label: str = ""
    """What the job is called in tables and messages."""

    folder: str = ""
    """Where the job's run leaves its files."""

    outcome: Mapping[str, Any] | None = None
    """How the job ended, as in its `outcome.json`; None while it runs."""

    @classmethod
    def current(cls) -> JobRecord:
        """The record of the command that this process belongs to; of a script, a new one each time."""
        text = os.environ.get(VARIABLE)
        return cls._read(text) if text else cls(_new_id())

    @classmethod
    def _read(cls, text: str) -> JobRecord:
        found = json.loads(text)
        return cls(**{**found, "swept": tuple(found["swept"]), "modules": tuple(found["modules"])})

    def hand_on(self) -> None:
        """Let this process, and all that it starts from now on, have this record."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    def write(self, sweep: Path) -> None:
        """Show the command how this job stands."""
        path = self._path(sweep)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))

    def remove(self, sweep: Path) -> None:
        """Take back what `write` has written, where the job was interrupted: it has not ended."""
        self._path(sweep).unlink(missing_ok=True)

    def _path(self, sweep: Path) -> Path:
        return sweep / FOLDER / f"{self.run_id}-{self.number}.json"

    def jobs(self, sweep: Path) -> list[JobRecord]:
        """The records that the jobs of this command have written, in their order."""
        found = []
        for path in (sweep / FOLDER).glob(f"{self.run_id}-*.json"):
            with suppress(FileNotFoundError):  # the job was interrupted just now
                found.append(self._read(path.read_text(encoding="utf-8")))
        return sorted(found, key=lambda record: record.number or 0)


def begin_command() -> JobRecord:
    """Hand on the record of a command that begins here; ranks that were started side by side choose the same id.

    Under srun with several tasks it is made of the numbers of job and step, which stay the same when the job is queued
    again; under torchrun it is what one of the ranks proposed.
    """
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        chosen = f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ['SLURM_STEP_ID']}"
    elif os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        chosen = _agree(_new_id())
    else:
        chosen = _new_id()
    record = JobRecord(chosen)
    record.hand_on()
    return record


def run_id() -> str:
    """The id of the command that this process belongs to; a new one in a script."""
    return JobRecord.current().run_id


def clear_jobs(sweep: Path) -> None:
    """Remove the records of a sweep's jobs, of this command or of one that was stopped."""
    shutil.rmtree(sweep / FOLDER, ignore_errors=True)


def _new_id() -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(3)}"


def _agree(own: str) -> str:
    """The proposal that reaches torchrun's store first: a restart of all ranks keeps it."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    chosen: bytes = store.compare_set("patchlight/run_id", "", own)
    return chosen.decode()


def choose_folders(config_dir: str | None) -> None:
    """Choose where this command and the processes that it starts look for a user's modules.

    These are the folder of `--config-dir`, if there is one, and the current folder.
    """
    chosen = [*([config_dir] if config_dir else []), "."]
    folders = tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in chosen))
    replace(JobRecord.current(), modules=folders).hand_on()


@contextmanager
def command_of_script(config_dir: str | Path | None = None) -> Iterator[None]:
    """A script or notebook does meanwhile what a command would: with an id and, for modules, folders of its own.

    Modules stay importable afterwards. In a process that belongs to a command already, that one's record stays.
    """
    before = os.environ.get(VARIABLE)
    if not before:
        JobRecord(_new_id()).hand_on()
    choose_folders(str(config_dir) if config_dir is not None else None)
    search_folders()
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def module_folders() -> list[str]:
    """The folders in which modules are looked for after all that is installed."""
    return list(JobRecord.current().modules) or [os.getcwd()]


def search_folders() -> None:
    """Make the modules in these folders importable, at the end of the path: what is installed goes before them."""
    sys.path += [folder for folder in module_folders() if folder not in sys.path]


def leave_out_current_folder() -> None:
    """Take back that `python -m` looks for modules in the current folder before all that is installed."""
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]


def where_looked(module: str, error: Exception) -> str:
    """A sentence's end about the folders, where a module was not found, or another one of its name goes before it."""
    top = module.partition(".")[0]
    places = module_folders()
    if isinstance(error, ModuleNotFoundError) and error.name in (top, module):
        return f"; it is neither installed nor in {' or '.join(places)}"
    own = [path for place in places for path in (Path(place, f"{top}.py"), Path(place, top)) if path.exists()]
    found = getattr(sys.modules.get(top), "__file__", None)
    if own and found and isinstance(error, AttributeError) and own[0] not in (Path(found), Path(found).parent):
        return f"; {found} is installed and goes before {own[0]}: choose another name for yours"
    return ""
