"""Fixtures shared by the whole test suite."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Tests say themselves how W&B is to be used, whatever it is told by the shell that runs them.
for name in [name for name in os.environ if name.startswith("WANDB_")]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves tests that train with the command out of the coverage, but for those marked `covered`.

    Watching every line doubles the time of a training, and most of them go through the same lines.
    """
    for item in items:
        if "patchlight_train" in getattr(item, "fixturenames", ()) and item.get_closest_marker("covered") is None:
            item.add_marker("untraced")


def pytest_collection_finish() -> None:
    """Takes what is imported by now, which stays, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Stops watching lines in tests marked `untraced`; pytest-cov's own `no_cover` does not in processes of xdist."""
    tracer = sys.gettrace()
    if item.get_closest_marker("untraced") is not None:
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Takes back what Hydra has set for Python's logging, whose handlers would write to what pytest has closed."""
    logger = logging.getLogger()
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


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
