"""The type of a configuration key in words, from the same checker that refuses what is of another type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SIGNS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def type_text(schema: Mapping[str, Any]) -> str:
    """What a value may be, by its JSON schema: "integer ≥ 1 or `null`"."""
    options = list(dict.fromkeys(_options(schema, schema.get("$defs", {}))))
    if "`null`" in options:
        options.remove("`null`")
        options.append("`null`")
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def _options(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """The alternatives of a schema, each in words."""
    if "$ref" in schema:
        yield from _options(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _options(option, definitions)
    elif "enum" in schema or "const" in schema:
        yield from (_literal(value) for value in schema.get("enum", [schema.get("const")]))
    else:
        yield from _plain(schema, definitions)


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    match schema.get("type"):
        case "null":
            yield "`null`"
        case "boolean":
            yield from ("`true`", "`false`")
        case "integer" | "number" as name:
            bounds = [f"{sign} {schema[key]}" for key, sign in SIGNS.items() if key in schema]
            yield " and ".join([f"{name} {bounds[0]}", *bounds[1:]]) if bounds else name
        case "string":
            yield "text"
        case "array":
            items = schema.get("prefixItems") or [schema.get("items") or {}]
            words = [type_text({**item, "$defs": definitions}) for item in items if item]
            yield f"list ({', '.join(words)})" if words else "list"
        case "object":
            yield "group of keys"
        case _:
            yield "group with a `_target_`"


def _literal(value: object) -> str:
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"
