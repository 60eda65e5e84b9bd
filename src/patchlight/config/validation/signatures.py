"""Reads what a `_target_` takes from its source, without importing it: torch and Lightning take seconds to import."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from patchlight.config.messages import one_line
from patchlight.config.validation.definitions import (
    Definition,
    NotFollowedError,
    assigned_value,
    find_definition,
    imports_of,
    line_of_descent,
)
from patchlight.errors import ConfigError
from patchlight.system.job_record import where_looked

LIGHT = frozenset({"typing", "typing_extensions", "collections", "pathlib", "datetime", "pydantic", "annotated_types"})
"""Packages whose names annotations are made of; those are imported."""


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
        found = find_definition(module, name)
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
        for origin, ancestor in line_of_descent(find_definition(module, name)):
            for statement in ancestor.body:
                if (value := assigned_value(statement, attribute)) is not None:
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
        fields = _of_class(find_definition(module, call.func.id)).parameters
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
    for module, ancestor in line_of_descent(found):
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
        whole = imports_of(self.module).get(name)
        if whole is None and hasattr(builtins, name):
            return getattr(builtins, name)
        parent, _, leaf = (whole or "").rpartition(".")
        package = (parent or leaf).partition(".")[0]
        if package in LIGHT:
            return getattr(importlib.import_module(parent), leaf) if parent else importlib.import_module(leaf)
        if package not in ("", self.module.partition(".")[0]):
            return Unread
        try:
            found = find_definition(self.module, name)
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
