"""Finds the definitions of classes, functions and constants in their sources, without importing them."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

Node = ast.ClassDef | ast.FunctionDef | ast.expr


@dataclass(frozen=True)
class Definition:
    """A definition, and the module that it is in."""

    module: str
    node: Node


class NotFollowedError(Exception):
    """The source does not say it; an import may."""


def line_of_descent(found: Definition) -> Iterator[tuple[str, ast.ClassDef]]:
    """A class and those that it is derived from, as far as the first of each leads, each with its module."""
    if not isinstance(found.node, ast.ClassDef):
        raise NotFollowedError
    yield found.module, found.node
    for base in found.node.bases:
        if isinstance(base, ast.Name) and base.id in ("ABC", "object"):
            continue
        yield from line_of_descent(_resolved(base, found.module))


def _resolved(expression: ast.expr, module: str) -> Definition:
    """The definition of a name, or of an attribute of an imported module."""
    if isinstance(expression, ast.Name):
        return find_definition(module, expression.id)
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        return find_definition(imports_of(module).get(expression.value.id, ""), expression.attr)
    raise NotFollowedError


@cache
def find_definition(module: str, name: str) -> Definition:
    """The definition of a name of a module, wherever it imports it from."""
    for statement in _statements(module):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return Definition(module, statement)
        value = assigned_value(statement, name)
        if value is not None:
            return Definition(module, value)
    parent, _, leaf = imports_of(module).get(name, "").rpartition(".")
    if (parent, leaf) == (module, name):  # a module of that package
        raise NotFollowedError
    return find_definition(parent, leaf)


@cache
def imports_of(module: str) -> dict[str, str]:
    """The names that a module imports, with what they are in full."""
    package = module if _file(module).name == "__init__.py" else module.rpartition(".")[0]
    names: dict[str, str] = {}
    for statement in _statements(module):
        if isinstance(statement, ast.Import):
            for a in statement.names:
                top = a.name.partition(".")[0]
                names[a.asname or top] = a.name if a.asname else top
        if isinstance(statement, ast.ImportFrom):
            with suppress(ImportError):  # from beyond the package, where no import leads either
                origin = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
                names |= {a.asname or a.name: f"{origin}.{a.name}" for a in statement.names}
    return names


@cache
def _statements(module: str) -> tuple[ast.stmt, ...]:
    """What a module does at its top level, and within `if` and `try` there."""

    def flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            yield statement
            if isinstance(statement, ast.If | ast.Try):
                yield from flat([*statement.body, *statement.orelse])

    try:
        return tuple(flat(ast.parse(_file(module).read_bytes()).body))
    except (SyntaxError, OSError, ValueError):
        raise NotFollowedError from None


@cache
def _file(module: str) -> Path:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except ValueError:
        spec = None
    for part in rest:  # step by step, because to find a module at once imports its packages
        folders = spec.submodule_search_locations if spec is not None else None
        spec = PathFinder.find_spec(part, folders) if folders else None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise NotFollowedError
    return Path(spec.origin)


def assigned_value(statement: ast.stmt, name: str) -> ast.expr | None:
    """What a statement gives to a name."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return None
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return statement.value if any(isinstance(t, ast.Name) and t.id == name for t in targets) else None
