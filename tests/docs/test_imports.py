"""Notebooks, examples and the Python code of the pages import what is for users, and nothing else."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module

import nbformat
import pytest

from doc_blocks import REPOSITORY, blocks
from site_reference import MODULES

pytestmark = pytest.mark.untraced


def sources() -> Iterator[tuple[str, str]]:
    """All Python code that readers take as a pattern, with its place."""
    for notebook in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        # Lines of IPython are no Python.
        yield notebook.name, "\n".join(line for line in code.splitlines() if not line.startswith("%"))
    for example in sorted((REPOSITORY / "examples").rglob("*.py")):
        yield example.relative_to(REPOSITORY).as_posix(), example.read_text(encoding="utf-8")
    for block in blocks():
        if block.language == "python":
            yield block.place, block.text


def public(module: str) -> list[str]:
    """The names of a module that are for users: `__all__`, or without one what it defines."""
    found = import_module(module)
    own = (name for name, value in vars(found).items() if getattr(value, "__module__", "") == module)
    return getattr(found, "__all__", None) or [name for name in own if not name.startswith("_")]


def internals(code: str) -> list[str]:
    """The names of Patchlight that some code imports, or reaches from `patchlight`, and that are not for users."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "patchlight":
            found.append(("patchlight", node.attr))
    ours = [(module, name) for module, name in found if module.partition(".")[0] == "patchlight"]
    allowed = {module: public(module) for module in MODULES}
    return [
        f"{module}.{name}" if name else module
        for module, name in ours
        if module not in allowed or not (name is None or name in allowed[module] or f"{module}.{name}" in allowed)
    ]


def test_code_for_readers_imports_what_is_for_users() -> None:
    found = dict(sources())
    assert {"03_compare_runs.ipynb", "examples/plain_trainer.py"} < found.keys()
    assert len(found) > 30
    assert {place: names for place, code in found.items() if (names := internals(code))} == {}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from patchlight import load, networks\nfrom patchlight.methods.schedules import EpochSchedule", []),
        ("import patchlight.networks\nimport torch\npatchlight.train([])", []),
        ("from patchlight.runs.run import train", ["patchlight.runs.run.train"]),
        ("from patchlight.errors import printable", ["patchlight.errors.printable"]),
        ("import patchlight.system.files", ["patchlight.system.files"]),
        ("import patchlight\npatchlight.build_run()", ["patchlight.build_run"]),
    ],
)
def test_what_counts_as_internal(code: str, expected: list[str]) -> None:
    assert internals(code) == expected


def test_all_names_for_users_are_there_and_say_what_they_are() -> None:
    for module in MODULES:
        found = import_module(module)
        for name in public(module):
            value = getattr(found, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert inspect.getdoc(value), f"{module}.{name}"
