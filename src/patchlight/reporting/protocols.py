"""Protocols of measurement: only figures of comparable ones share a column."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from patchlight.reporting.collect import Run
from patchlight.reporting.differences import leaves, text_of

OF_SETS = ("fid", "kid", "frechet_", "kernel_")
"""Metrics of sets of images, by the beginnings of their names: which images are pairs is nothing to them."""

PAIRS = "compared"
"""The setting that says which images are compared with which."""

NOT_RECORDED, NO_FIGURE = "not recorded", "no figure"

AS_CONFIGURED = "as the run's configuration has it"
"""In place of how a model makes its images, where that is a choice of the run, and so a column of its settings."""

EMA = "patchlight.callbacks.EMA"


@dataclass
class Protocol:
    """One way of measuring: the settings that all its figures share, and a description of each metric."""

    letter: str
    common: Mapping[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def takes(self, common: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
        """Whether figures measured in this way are comparable with this protocol's.

        Those of sets alone are, whatever else is compared with what.
        """
        shared = self.metrics.keys() & metrics.keys()
        if all(name.startswith(OF_SETS) for name in shared):
            agree = all(
                _same(self.common.get(key), common.get(key)) for key in (self.common.keys() | common.keys()) - {PAIRS}
            )
        else:
            agree = _same(self.common, common)
        return agree and all(_same(self.metrics[name], metrics[name]) for name in shared)

    def text(self, key: str) -> str:
        """The text of a key."""
        group, _, rest = key.partition(".")
        if group == "metrics" and rest.partition(".")[0] not in self.metrics:
            return NO_FIGURE
        return self.said().get(key, NOT_RECORDED)

    def said(self) -> dict[str, str]:
        """All keys with their texts."""
        found = leaves({**self.common, "metrics": self.metrics})
        return {key: text_of(value) or NOT_RECORDED for key, value in found}


class Protocols:
    """The protocols of some runs, lettered A, B, ... in the order of the runs.

    Figures of two runs are comparable if their protocols are equal apart from seeds, the other metrics, and, unless
    the figures are those of the best weights, what `best` means. With dropout or without it, with moving
    averages or without them, and in any precision, models are measured in the same way, if that is how their runs were
    configured.
    """

    def __init__(self, runs: Sequence[Run], weights: str) -> None:
        self.all: list[Protocol] = []
        self._of: dict[str, Protocol] = {}
        for run in runs:
            apart = {"seeds", "metrics"} | ({"best_is"} if weights != "best" else set())
            described = run.protocol.get("metrics") or {}
            metrics = {_base(metric): described.get(_base(metric)) for metric in run.figures[weights]}
            if metrics and all(name.startswith(OF_SETS) for name in metrics):
                apart |= {PAIRS}
            common = {key: value for key, value in _told_from_choices(run).items() if key not in apart}
            protocol = next((p for p in self.all if p.takes(common, metrics)), None)
            if protocol is None:
                protocol = Protocol(_letter(len(self.all)), common)
                self.all.append(protocol)
            protocol.common = {**common, **protocol.common}
            protocol.metrics |= metrics
            protocol.runs.append(run.name)
            self._of[run.name] = protocol

    def of(self, run: Run) -> Protocol:
        """The protocol of a run's figures."""
        return self._of[run.name]

    def columns(self, metric: str) -> list[list[Protocol]]:
        """The protocols that have this metric, in lists of those whose figures are comparable."""
        columns: list[list[Protocol]] = []
        for protocol in self.all:
            if _base(metric) not in protocol.metrics:
                continue
            entry = {_base(metric): protocol.metrics[_base(metric)]}
            column = next((c for c in columns if c[0].takes(protocol.common, entry)), None)
            if column is None:
                columns.append([protocol])
            else:
                column.append(protocol)
        return columns

    def rows(self) -> list[tuple[str, list[str], bool]]:
        """Every key with its text per protocol, and whether the protocols contradict one another about it."""
        rows = []
        for key in dict.fromkeys(key for protocol in self.all for key in protocol.said()):
            texts = [protocol.text(key) for protocol in self.all]
            rows.append((key, texts, len({text for text in texts if text != NO_FIGURE}) > 1))
        return rows


def _told_from_choices(run: Run) -> dict[str, Any]:
    """The protocol of a run, in which what its configuration chooses is told from what was asked for in measuring."""
    model, callbacks = run.config.get("model") or {}, run.config.get("callbacks") or {}
    averaged = any(isinstance(node, Mapping) and node.get("_target_") == EMA for node in callbacks.values())
    chosen = {
        "inference_mode": model.get("inference_mode", NOT_RECORDED),
        "weights": "moving average" if averaged else "as trained",
        "precision": (run.config.get("trainer") or {}).get("precision", NOT_RECORDED),
    }
    same = {key for key, value in chosen.items() if run.config and run.protocol.get(key) == value}
    return {key: AS_CONFIGURED if key in same else value for key, value in run.protocol.items()}


def _base(metric: str) -> str:
    """The name under which a metric is described: `fake_B/fid` is a `fid`."""
    return metric.rpartition("/")[2]


def _same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True, default=str) == json.dumps(b, sort_keys=True, default=str)


def _letter(number: int) -> str:
    letters = string.ascii_uppercase
    return letters[number] if number < len(letters) else f"{_letter(number // len(letters) - 1)}{_letter(number % 26)}"
