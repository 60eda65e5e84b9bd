"""The check that a stored configuration goes through before anything that it names is looked up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from patchlight.errors import DataError
from patchlight.trust.allowlist import LIMITS, PLACES, RENAMED, Place
from patchlight.trust.reading import clipped, plain

TARGET, PARTIAL, ARGS, CONVERT, RECURSIVE = "_target_", "_partial_", "_args_", "_convert_", "_recursive_"
"""The keys on which Hydra's `instantiate` acts."""

CONVERSIONS = ("none", "partial", "all", "object")

MISSING = "???"
"""OmegaConf's word for a value that is still to be given."""

LISTED = 20
"""How many of the names that are refused a message tells."""


def trusted_config(config: object, source: str, *, trust: bool) -> dict[str, Any]:
    """A configuration that was stored in a file, as plain data in which only known names remain.

    It was resolved when it was written, so that an interpolation in it is none of ours. With `trust` it may name any
    code; all else is checked the same.

    Raises:
        DataError: it is no configuration, holds an interpolation or a number out of all bounds, or names code that is
            not on the list; the message says which, and nothing has been imported.
    """
    copied = plain(config, source)
    if not isinstance(copied, dict):
        raise DataError(f"{source} holds a {type(config).__name__} in place of a configuration")
    refused = list(_walk(copied, PLACES["top"], "", source))
    for section, limits in LIMITS.items():
        _check_numbers(copied.get(section), limits, section, source)
    if refused and not trust:
        names = ", ".join(clipped(name) for name in refused[:LISTED])
        more = f" and {len(refused) - LISTED} more" if len(refused) > LISTED else ""
        raise DataError(
            f"{source} names code that is not Patchlight's own, and nothing of it was loaded: {names}{more}. Give "
            f"trust=true (in Python trust=True) to run it, if you trust whoever made the file"
        )
    return copied


def _walk(node: dict[str, Any] | list[Any], place: Place, key: str, source: str) -> Iterator[str]:
    """The names that are not on the list, with their keys. In place, words for what is missing become
    None, and names of earlier versions today's."""
    entries: list[tuple[Any, str, Place]]
    if isinstance(node, dict):
        if isinstance(name := node.get(TARGET), str):
            node[TARGET] = RENAMED.get(name, name)
        yield from _refused(node, place, key, source)
        entries = [(name, f"{key}.{name}" if key else name, place.below(name)) for name in node]
    else:
        entries = [(i, f"{key}[{i}]", PLACES[place.items]) for i in range(len(node))]
    for name, full, below in entries:
        value = node[name]
        if isinstance(value, dict | list):
            yield from _walk(value, below, full, source)
        elif value == MISSING:
            node[name] = None
        elif value != value:
            raise DataError(f"{source} is damaged: {clipped(full)} is not a number")
        elif "${" in (f"{full}{value}" if isinstance(value, str) else full):
            raise DataError(
                f"{source} holds an interpolation, which is never evaluated: {clipped(f'{full}={value}')}. What "
                f"patchlight-train writes has none"
            )


def _refused(node: dict[str, Any], place: Place, key: str, source: str) -> Iterator[str]:
    """What a mapping asks of Hydra that its place does not allow."""
    start = f"{key}." if key else ""
    for name, kind in ((TARGET, str), (PARTIAL, bool), (RECURSIVE, bool), (ARGS, list), (CONVERT, str)):
        if name not in node:
            continue
        value = node[name]
        if not isinstance(value, kind) or (name == CONVERT and value not in CONVERSIONS):
            raise DataError(f"{source} is damaged: {clipped(f'{start}{name}={value!r}')} is no value of this key")
        if (name == TARGET and value not in place.targets) or (name == PARTIAL and value and not place.partial):
            yield f"{start}{name}={value}"
        elif name == ARGS:
            yield f"{start}{name}"


def _check_numbers(node: Any, limits: dict[str, int] | Any, key: str, source: str, limit: int | None = None) -> None:
    if isinstance(node, dict):
        for name, value in node.items():
            _check_numbers(value, limits, f"{key}.{name}", source, limits.get(name))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check_numbers(value, limits, f"{key}[{i}]", source, limit)
    elif limit is not None and isinstance(node, int | float) and abs(node) > limit:
        raise DataError(f"{source} has {clipped(key)}={node}, more than the {limit} that are taken from a file")
