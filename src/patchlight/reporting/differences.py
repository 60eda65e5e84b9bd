"""Differences between runs: the configuration keys with several values, and receptive field and patch map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from patchlight.reporting.collect import Run

APART = ("paths", "logger", "hydra", "resume", "task", "seed", "question", "extras")
"""Keys and groups that say where a run lies and which of its kind it is, not what it does."""

FOLDERS = frozenset({"folder", "save_dir", "default_root_dir", "feature_cache"})

HYDRA_KEYS = frozenset({"_partial_", "_convert_", "_recursive_"})

RECEPTIVE_FIELD, MAP_SIZE = "receptive_field", "map_size"
FROM_MANIFEST = {RECEPTIVE_FIELD: "receptive field", MAP_SIZE: "patch map"}

NOT_SET = "none"
"""In place of a value, where a key is null or missing."""

CHOICES = ("recipe", "model._target_")
"""Choices that set many keys: those that change with one of these alone say nothing of their own."""

CHOSEN = ("model.", "callbacks.", "trainer.precision")
"""The beginnings of the keys that such a choice can set."""

DEPTH = ("model.discriminator._target_", "model.discriminator.n_layers")
"""The keys that a receptive field says in one number."""


@dataclass(frozen=True, eq=False)
class Settings:
    """`table` has a row per run, by its name, and a column per full key, with texts; "" where a run has no such key.

    `names` are short names of the columns for people.
    """

    table: pd.DataFrame
    names: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """The columns of a table for people: without the keys that change with a recipe or the method alone."""
        return [key for key in self.names if not any(self._follows(key, choice) for choice in CHOICES)]

    @property
    def followers(self) -> list[str]:
        """The keys that are no columns, as short names."""
        return [name for key, name in self.names.items() if key not in self.columns]

    def _follows(self, key: str, choice: str) -> bool:
        """Whether all runs of a choice agree about a key that it can set."""
        if choice not in self.names or not key.startswith(CHOSEN) or key in CHOICES:
            return False
        return bool((self.table.groupby(choice)[key].nunique() == 1).all())

    @property
    def factors(self) -> list[str]:
        """The columns that were chosen independently: a receptive field stands for the keys that it follows from, and
        a class for those arguments that others do not have."""
        columns = [key for key in self.columns if key != MAP_SIZE and not self._follows_from_class(key)]
        if RECEPTIVE_FIELD not in columns:
            return columns
        depth = [key for key in DEPTH if key in self.names]
        pairs = self.table[[RECEPTIVE_FIELD, *depth]].drop_duplicates()
        if depth and pairs[RECEPTIVE_FIELD].is_unique and len(pairs[depth].drop_duplicates()) == len(pairs):
            return [RECEPTIVE_FIELD, *(key for key in columns if key not in (*depth, RECEPTIVE_FIELD))]
        return [key for key in columns if key != RECEPTIVE_FIELD]

    def _follows_from_class(self, key: str) -> bool:
        """Whether some runs lack a key because their object is of another class, and the others all agree about it."""
        target = f"{key.rpartition('.')[0]}._target_"
        if key == target or target not in self.names or not (self.table[key] == "").any():
            return False
        return bool((self.table.groupby(target)[key].nunique() == 1).all())

    def label(self, run: str) -> str:
        """One run's choices in a few words."""
        parts = []
        for key in self.factors:
            value = str(self.table.at[run, key]) or NOT_SET
            parts.append(f"{value} px" if key == RECEPTIVE_FIELD else f"{self.names[key]}={value}")
        return ", ".join(parts) or "all runs"


def find_differences(runs: Sequence[Run], ignore: Sequence[str] = ()) -> Settings:
    """Compare the runs' configurations. Keys in `ignore`, and all keys below them, are left out.

    A run without a configuration, because it cannot be read, has a row and makes no difference.
    """
    columns = {run.name: _flatten(run, ignore) if run.config else {} for run in runs}
    known = [run.name for run in runs if run.config]
    order = list(dict.fromkeys(key for texts in columns.values() for key in texts))
    rows = [[texts.get(key, "") for key in order] for texts in columns.values()]
    table = pd.DataFrame(rows, index=list(columns), columns=order, dtype=object)
    seeds = pd.Series({run.name: text_of(run.seed) for run in runs if run.config}, dtype=object)

    def is_seed(key: str) -> bool:
        own = table.loc[known, key]
        return key.endswith("seed") and bool(own.eq("").where(own != seeds, True).all())

    differing = [key for key in order if table.loc[known, key].nunique() > 1 and not is_seed(key)]
    # What follows from the keys comes after them.
    differing.sort(key=lambda key: key in FROM_MANIFEST)
    return Settings(table[differing], _short_names(differing))


def text_of(value: Any) -> str:
    """A value of a configuration as it is written on the command line; "" for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list):
        return f"[{', '.join(text_of(item) for item in value)}]"
    return str(value)


def natural(text: str) -> tuple[int, float, str]:
    """A sorting key: nothing, then numbers by size, then words."""
    if not text:
        return 0, 0.0, ""
    try:
        return 1, float(text), ""
    except ValueError:
        return 2, 0.0, text


def _flatten(run: Run, ignore: Sequence[str]) -> dict[str, str]:
    """All keys of a run that may make a difference, with their values as texts."""
    own_folder = (run.config.get("paths") or {}).get("run_dir")
    texts = {}
    for key, value in leaves(run.config):
        last = key.rpartition(".")[2]
        ignored = any(key == name or key.startswith(f"{name}.") for name in (*APART, *ignore))
        text = "" if value == {} else text_of(value)
        if ignored or not text or last in HYDRA_KEYS | FOLDERS or (own_folder and str(own_folder) in text):
            continue
        texts[key] = text.rpartition(".")[2] if last == "_target_" else text
    return texts | _patches(run)


def leaves(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """All values of a nested mapping with their dotted keys; an empty mapping is a value."""
    found = []
    for key, value in node.items():
        nested = isinstance(value, Mapping) and value
        found += leaves(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return found


def _patches(run: Run) -> dict[str, str]:
    """Receptive field and size of the patch map; of several discriminators that differ, all of them."""
    geometries = list((run.manifest.get("discriminators") or {}).values())
    texts = {
        RECEPTIVE_FIELD: [str(g[RECEPTIVE_FIELD]) for g in geometries if RECEPTIVE_FIELD in g],
        MAP_SIZE: ["x".join(str(n) for n in g[MAP_SIZE]) for g in geometries if MAP_SIZE in g],
    }
    return {key: " / ".join(dict.fromkeys(values)) for key, values in texts.items() if values}


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of each key that tell it from the others; a class goes by the name of what it is a class of."""
    parts = {key: [part for part in key.split(".") if part != "_target_"] or [key] for key in keys}

    def short(key: str) -> str:
        for n in range(1, len(parts[key]) + 1):
            if all(parts[key][-n:] != parts[other][-n:] for other in keys if other != key):
                return ".".join(parts[key][-n:])
        return key

    return {key: FROM_MANIFEST.get(key) or short(key) for key in keys}
