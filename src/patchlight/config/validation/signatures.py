"""Reads what a `_target_` takes from its source, without importing it: torch and Lightning take seconds to import."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, get_type_hints

from patchlight.config.messages import one_line
from patchlight.errors import ConfigError
from patchlight.system.job_record import where_looked

LIGHT = frozenset({"typing", "typing_extensions", "collections", "pathlib", "datetime", "pydantic", "annotated_types"})
"""Packages whose names annotations are made of; those are imported."""


Node = ast.ClassDef | ast.FunctionDef | ast.expr


@dataclass(frozen=True)
class Definition:
    """A definition, and the module that it is in."""

    module: str
    node: Node


class NotFollowedError(Exception):
    """The source does not say it; an import may."""


class _Meta(type):
    def __getattr__(cls, name: str) -> type[Unread]:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unread


class Unread(metaclass=_Meta):
    """Stands in an annotation for a class that was not imported, such as `Tensor`."""

    def __class_getitem__(cls, item: object) -> type[Unread]:
        return cls


@dataclass(frozen=True)
class Signature:
    """The parameters of a class or function, and whether it takes others, too."""

    parameters: tuple[str, ...]
    takes_any: bool
    hint: Callable[[str], Any]
    """The type of a parameter, in which `Unread` stands for every class that was not imported."""

    def has(self, name: str) -> bool:
        """Whether it takes an argument of that name."""
        return self.takes_any or name in self.parameters


@cache
def signature(target: str, path: str) -> Signature:
    """What a `_target_` at a place of the configuration takes.

    Raises:
        ConfigError: it does not exist.
    """
    module, _, name = target.rpartition(".")
    try:
        found = _find_definition(module, name)
        return _of_class(found) if isinstance(found.node, ast.ClassDef) else _of_function(found, skip=0)
    except NotFollowedError:
        return _imported(locate(target, path))


def table_of(target: str, attribute: str, path: str) -> Mapping[str, Mapping[str, Any]] | None:
    """The rows of a table that is an attribute of a class, each a dataclass, as their fields by name.

    Fields that a row leaves at their default may be missing. None if the class has no such attribute.

    Raises:
        ConfigError: the class does not exist.
    """
    module, _, name = str(target).rpartition(".")
    try:
        for origin, ancestor in _line_of_descent(_find_definition(module, name)):
            for statement in ancestor.body:
                if (value := _assigned_value(statement, attribute)) is not None:
                    return _table(value, origin)
    except (NotFollowedError, ValueError):
        table = getattr(locate(target, path), attribute, None)
        return None if table is None else {key: vars(row) for key, row in table.items()}
    return None


def _table(value: ast.expr, module: str) -> dict[str, dict[str, Any]]:
    """A dictionary of calls with literal arguments; of anything else a NotFollowedError or ValueError."""
    if not isinstance(value, ast.Dict):
        raise NotFollowedError
    rows = {}
    for key, call in zip(value.keys, value.values, strict=True):
        if key is None or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise NotFollowedError
        fields = _of_class(_find_definition(module, call.func.id)).parameters
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        given |= dict(zip(fields, call.args, strict=False))
        rows[ast.literal_eval(key)] = {str(name): ast.literal_eval(node) for name, node in given.items()}
    return rows


def locate(target: str, path: str) -> Any:
    """The class or function that a `_target_` names, imported.

    Raises:
        ConfigError: it does not exist.
    """
    module, _, name = str(target).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of the user's may raise any
        raise ConfigError(
            f"{path}._target_={target} cannot be imported: {one_line(error)}{where_looked(module, error)}"
        ) from None


def _imported(target: Callable[..., Any]) -> Signature:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return Signature((), True, lambda name: Any)
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return Signature(tuple(parameters), takes_any, lambda name: hints.get(name, Any))


def _of_class(found: Definition) -> Signature:
    handed_on: list[Signature] = []
    for module, ancestor in _line_of_descent(found):
        for statement in ancestor.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                own = _of_function(Definition(module, statement), skip=1)
                if not _hands_on(statement):
                    return _merged([*handed_on, own])
                handed_on.append(own)
        if any("dataclass" in ast.unparse(decorator) for decorator in ancestor.decorator_list):
            fields = [s for s in ancestor.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
            own = _read({ast.unparse(s.target): s.annotation for s in fields}, module, takes_any=False)
            return _merged([*handed_on, own])
    raise NotFollowedError


def _hands_on(constructor: ast.FunctionDef) -> bool:
    """Whether a constructor gives what its `**settings` takes to `super().__init__`."""
    settings = constructor.args.kwarg
    return settings is not None and any(
        re.search(rf"super\(\)\.__init__\(.*\*\*{settings.arg}\)", line)
        for line in ast.unparse(constructor).splitlines()
    )


def _merged(line: list[Signature]) -> Signature:
    """What a class takes whose constructors hand on to the next what they do not name."""
    first = {name: signature for signature in reversed(line) for name in signature.parameters}
    names = tuple(dict.fromkeys(name for signature in line for name in signature.parameters))
    return Signature(names, line[-1].takes_any, lambda name: first[name].hint(name) if name in first else Any)


def _of_function(found: Definition, skip: int) -> Signature:
    if not isinstance(found.node, ast.FunctionDef):
        raise NotFollowedError
    a = found.node.args
    parameters = [*a.posonlyargs, *a.args][skip:] + a.kwonlyargs
    return _read({p.arg: p.annotation for p in parameters}, found.module, takes_any=a.kwarg is not None)


def _read(annotations: Mapping[str, ast.expr | None], module: str, *, takes_any: bool) -> Signature:
    return Signature(tuple(annotations), takes_any, lambda name: _evaluated(annotations.get(name), module))


class _Names(dict[str, Any]):
    """The names of a module's annotations: those of light packages as they are, others read or `Unread`."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __missing__(self, name: str) -> Any:
        whole = _imports_of(self.module).get(name)
        if whole is None and hasattr(builtins, name):
            return getattr(builtins, name)
        parent, _, leaf = (whole or "").rpartition(".")
        package = (parent or leaf).partition(".")[0]
        if package in LIGHT:
            return getattr(importlib.import_module(parent), leaf) if parent else importlib.import_module(leaf)
        if package not in ("", self.module.partition(".")[0]):
            return Unread
        try:
            found = _find_definition(self.module, name)
        except NotFollowedError:
            return Unread
        return _evaluated(found.node, found.module) if isinstance(found.node, ast.expr) else Unread


def _evaluated(annotation: ast.expr | None, module: str) -> Any:
    """The type that an annotation of a module means; `Any` where there is none or it cannot be told."""
    if annotation is None:
        return Any
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    try:
        return eval(ast.unparse(annotation), {"__builtins__": {}}, _Names(module))
    except (TypeError, ValueError, SyntaxError, AttributeError, NotFollowedError):
        return Any


def _line_of_descent(found: Definition) -> Iterator[tuple[str, ast.ClassDef]]:
    """A class and those that it is derived from, as far as the first of each leads, each with its module."""
    if not isinstance(found.node, ast.ClassDef):
        raise NotFollowedError
    yield found.module, found.node
    for base in found.node.bases:
        if isinstance(base, ast.Name) and base.id in ("ABC", "object"):
            continue
        yield from _line_of_descent(_resolved(base, found.module))


def _resolved(expression: ast.expr, module: str) -> Definition:
    """The definition of a name, or of an attribute of an imported module."""
    if isinstance(expression, ast.Name):
        return _find_definition(module, expression.id)
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        return _find_definition(_imports_of(module).get(expression.value.id, ""), expression.attr)
    raise NotFollowedError


@cache
def _find_definition(module: str, name: str) -> Definition:
    """The definition of a name of a module, wherever it imports it from."""
    for statement in _statements(module):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return Definition(module, statement)
        value = _assigned_value(statement, name)
        if value is not None:
            return Definition(module, value)
    parent, _, leaf = _imports_of(module).get(name, "").rpartition(".")
    if (parent, leaf) == (module, name):  # a module of that package
        raise NotFollowedError
    return _find_definition(parent, leaf)


@cache
def _imports_of(module: str) -> dict[str, str]:
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


def _assigned_value(statement: ast.stmt, name: str) -> ast.expr | None:
    """What a statement gives to a name."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return None
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return statement.value if any(isinstance(t, ast.Name) and t.id == name for t in targets) else None
