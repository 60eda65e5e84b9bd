"""What coverage watches: lines of this package, and not the libraries' own, which take twice as long while watched.

Python 3.11 calls the tracer for every line of every module once it is set. So it is taken away for the time of imports
and of calls in which no line of this package runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import Any

import pytest

IMPORTED = (
    "torch", "torchvision", "lightning.pytorch", "torchmetrics.image", "cv2", "hydra.main", "wandb",
    "matplotlib.figure", "pandas", "scipy.ndimage", "jinja2", "imagehash", "rich.table", "optuna",
)  # fmt: skip
"""Libraries that most of the suite uses."""

CALLED = (
    "hydra._internal.config_loader_impl:ConfigLoaderImpl.load_configuration", "torch:save", "torch:load",
    "torch.onnx:export", "torch.export:export", "matplotlib.figure:Figure.savefig",
)  # fmt: skip
"""Functions of libraries in which little or nothing of this package runs, by module and name."""


@contextmanager
def untraced() -> Iterator[None]:
    """Take the tracer away, if there is one, and give it back."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def import_libraries() -> None:
    """Import what the suite is going to import, where it is watched."""
    if sys.gettrace() is None:
        return
    with untraced():
        for name in IMPORTED:
            try:
                import_module(name)
            except ImportError:
                continue


def leave_out_libraries(patch: pytest.MonkeyPatch) -> None:
    """Take the tracer away in `CALLED`."""
    for place in CALLED:
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        patch.setattr(owner, name, _without_tracer(getattr(owner, name)))


def _without_tracer(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with untraced():
            return function(*args, **kwargs)

    return call
