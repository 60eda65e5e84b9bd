"""The corpus for tests that ask for an `entry`, a `usable` or a `refused` one, and commands to give it to."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from commands import Outcome, call_main
from small_models import write_checkpoint

sys.path.append(str(Path(__file__).parent))  # importlib mode finds no module beside this one

from odd_making import photo
from odd_refused import refused
from odd_usable import usable

ENTRIES = [*usable(), *refused()]
"""No two have names that differ in their suffix alone."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kinds = {
        "entry": ENTRIES,
        "usable": [entry for entry in ENTRIES if entry.pixels is not None],
        "refused": [entry for entry in ENTRIES if entry.pixels is None],
    }
    for kind, entries in kinds.items():
        if kind in metafunc.fixturenames:
            metafunc.parametrize(kind, entries, ids=[entry.name for entry in entries])


@pytest.fixture(scope="session")
def entries() -> list[Any]:
    """All of the corpus."""
    return list(ENTRIES)


@pytest.fixture(scope="session")
def good() -> Callable[[Path, int], None]:
    """Writes an image that nothing is wrong with; another one for each seed."""

    def write(path: Path, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(1000 + seed)).save(path)

    return write


Command = Callable[..., Outcome]


def call(arguments: Sequence[str], folder: Path) -> Outcome:
    """A command of the project, `translate`, `train` or `doctor` and its arguments, in this process and a folder."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        status = call_main(*arguments)
    return Outcome(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def typed() -> Command:
    """Calls a command of the project: its name, then its arguments; `folder` is where."""

    def run(*arguments: str, folder: Path) -> Outcome:
        return call(arguments, folder)

    return run


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, as a training would leave it."""
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    write_checkpoint(path, "cyclegan", "model.generator.ngf=2")
    return path


RUNNER = """
import importlib.util, json, sys
from pathlib import Path
sys.path.append(str(Path(sys.argv[1]).parents[1] / "support"))
spec = importlib.util.spec_from_file_location("kit", sys.argv[1])
kit = importlib.util.module_from_spec(spec)
sys.modules["kit"] = kit
spec.loader.exec_module(kit)
print(json.dumps([kit.call(line, Path.cwd()) for line in json.loads(sys.argv[2])]))
"""


@pytest.fixture(scope="session")
def without_powers() -> Callable[[list[list[str]], Path], list[Outcome]]:
    """Calls commands, one after the other, in another process, in which permissions bind even root."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root is bound by no permissions, and there is no setpriv to change that")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

    def run(commands: list[list[str]], folder: Path) -> list[Outcome]:
        line = [*prefix, sys.executable, "-c", RUNNER, __file__, json.dumps(commands)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return [Outcome(*outcome) for outcome in json.loads(done.stdout.splitlines()[-1])]

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=20)
