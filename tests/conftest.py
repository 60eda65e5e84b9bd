"""Fixtures shared by the whole test suite."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from functools import cache, partial
from pathlib import Path

import pytest

from commands import Outcome, Typed, call_main
from composition import remember_compositions
from tracing import import_libraries, leave_out_libraries, untraced

REPOSITORY = Path(__file__).resolve().parents[1]

WATCHED_CASES = 24
"""So many cases of a parametrized test count for the coverage."""

# Tests say themselves how W&B is to be used, whatever it is told by the shell that runs them.
for name in [name for name in os.environ if name.startswith("WANDB_")]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out of the coverage what goes through lines that others go through, unless it is marked `covered`.

    That are slow tests, those that train with the command, and all but the first cases of a test of many. Watching
    every line doubles the time that Python takes.
    """
    cases: Counter[str] = Counter()
    for item in items:
        function = item.nodeid.partition("[")[0]
        cases[function] += 1
        trains = not {"patchlight_train", "finished"}.isdisjoint(getattr(item, "fixturenames", ()))
        left_out = trains or is_slow(item) or cases[function] > WATCHED_CASES
        if left_out and item.get_closest_marker("covered") is None:
            item.add_marker("untraced")
    items[:] = slow_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def slow_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The order in which each of the equal parts that xdist's workers begin with has its share of slow tests in front.

    What is left at the end, when a worker takes over what another has not begun with, is quick.
    """
    slow, quick = ([item for item in items if is_slow(item) == kind] for kind in (True, False))
    bounds = [len(quick) * worker // workers for worker in range(workers + 1)]
    parts = [slow[worker::workers] + quick[slice(*bounds[worker : worker + 2])] for worker in range(workers)]
    return [item for part in parts for item in part]


@pytest.hookimpl(tryfirst=True)
def pytest_collectstart(collector: pytest.Collector) -> None:
    """Imports libraries before the first test file does, and without watching them."""
    if isinstance(collector, pytest.Session):
        import_libraries()


def pytest_collection_finish() -> None:
    """Takes what is imported by now, which stays, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Stops watching lines in tests marked `untraced`; pytest-cov's own `no_cover` does not in processes of xdist."""
    with untraced() if item.get_closest_marker("untraced") is not None else nullcontext():
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def _libraries_take_less_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        remember_compositions(patch)
        if sys.gettrace() is not None:
            leave_out_libraries(patch)
        yield


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Takes back what Hydra has set for Python's logging, whose handlers would write to what pytest has closed."""
    logger = logging.getLogger()
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """Runs a command in an empty folder, as it is typed: `typed("translate", "ckpt=model.ckpt", ...)`."""
    monkeypatch.chdir(tmp_path)

    def run(module: str, *arguments: str) -> Outcome:
        capsys.readouterr()
        return Outcome(call_main(module, *arguments), *capsys.readouterr())

    return run


@pytest.fixture
def patchlight_train(typed: Typed) -> Callable[..., Outcome]:
    """Runs `patchlight-train` in an empty folder."""
    return partial(typed, "train")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder `run` of the training that `patchlight-train` does with overrides, in an empty folder; not changed."""

    @cache
    def folder(*overrides: str) -> Path:
        root = tmp_path_factory.mktemp("finished")
        said = io.StringIO()
        with untraced(), pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
            patch.chdir(root)
            status = call_main("train", *overrides, "hydra.run.dir=run")
        assert status == 0, said.getvalue()
        return root / "run"

    return folder


@pytest.fixture(scope="session")
def tiny_sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small synthetic set, paired or unpaired, which is rendered once and not changed."""
    root = tmp_path_factory.mktemp("sets")

    @cache
    def folder(pairing: str) -> Path:
        from patchlight.data import SyntheticSet  # with which comes PyTorch, which many tests do not need

        SyntheticSet(n_train=8, n_test=3, size=64).write(root / pairing, pairing)
        return root / pairing

    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers, real images and weights; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("PATCHLIGHT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "golden" / "README.md").is_file():
        pytest.skip(f"{folder} has no golden/: set PATCHLIGHT_SHARED to the folder of golden numbers and real images")
    return folder


@pytest.fixture
def alexnet(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AlexNet's weights where torchvision looks for them."""
    monkeypatch.setenv("TORCH_HOME", str(shared / "weights" / "torch_home"))
