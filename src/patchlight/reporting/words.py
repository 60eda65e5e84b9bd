"""Sentences of the page: its title, what the table decides, and what to know before comparing figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from patchlight.reporting.collect import Run
from patchlight.reporting.curves import observations
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import Column, Group, Table

FEW_IMAGES = 30
"""Images below which a mean over them says little of others."""

ALARM_WINDOW = 20
"""Observations that an alarm takes the mean of, where the configuration does not say."""

AT_MOST = 3
"""Names that a sentence lists; of more it tells the number."""


def page_title(runs: Sequence[Run]) -> str:
    """Task, model and data of the runs: `facades: Pix2Pix (UNetGenerator) on facades`."""
    configs = [run.config for run in runs if run.config]
    tasks = _listed([str(config.get("task") or "train") for config in configs], "tasks")
    models = _listed([model_name(config.get("model") or {}) for config in configs], "models")
    sets = _listed([data_name(config.get("data") or {}) for config in configs], "data sets")
    return f"{tasks}: {models} on {sets}"


def questions(runs: Sequence[Run]) -> list[str]:
    """What the runs are to answer, each question once."""
    return list(dict.fromkeys(str(run.config["question"]) for run in runs if run.config.get("question")))


def model_name(model: dict[str, Any]) -> str:
    """The class of the method, and that of its generator."""
    method, generator = _class(model), _class(model.get("generator"))
    return f"{method or 'a model'} ({generator})" if generator else method or "a model"


def data_name(data: dict[str, Any]) -> str:
    """The name of the set's folder, or the class of its source."""
    root = data.get("root")
    return PurePath(str(root)).name if root else _class(data.get("source")) or _class(data) or "unnamed data"


def _class(node: Any) -> str:
    return str(node.get("_target_") or "").rpartition(".")[2] if isinstance(node, dict) else ""


def _listed(names: Sequence[str], plural: str) -> str:
    different = list(dict.fromkeys(names))
    if len(different) > AT_MOST:
        return f"{len(different)} {plural}"
    return " and ".join(filter(None, (", ".join(different[:-1]), *different[-1:])))


def verdict_sentences(table: Table) -> list[tuple[str, str]]:
    """For the metrics that can be compared: their names, and which row is the best, tied with which, or why none is."""
    names: dict[str, list[str]] = {}
    for column in table.columns:
        if column.name in table.verdicts:
            names.setdefault(_sentence(table, column), []).append(column.name)
    return [(", ".join(own), sentence) for sentence, own in names.items()]


def _sentence(table: Table, column: Column) -> str:
    verdict = table.verdicts[column.name]
    labels = {group.number: group.label for group in table.groups}
    leader = labels[verdict.leader]
    if not verdict.first:
        return (
            f"not decided. {leader} has the best mean, of one seed: how far another seed would lie from it is not "
            "known. Add seeds, such as seed=0,1,2."
        )
    if len(verdict.first) > 1:
        names = ", ".join(labels[number] for number in verdict.first)
        return f"a tie of {names}. They differ by no more than their seeds do."
    if verdict.next_behind is None:
        return f"best is {leader}. No other row has a finite mean."
    return (
        f"best is {leader}, by {column.text(verdict.gap)} before {labels[verdict.next_behind]}: more than the spread "
        f"of this difference over seeds, {column.text(verdict.spread)}."
    )


def cautions(table: Table, protocols: Protocols) -> list[str]:
    """How little the figures say, where they are of few seeds or images."""
    words = []
    if any(cell.seeds == 2 for cell in table.cells.values()):
        words.append(
            "A deviation over two seeds is a rough guess: the true one lies between 0.45 and 32 times it (95 % "
            "interval of normally distributed figures), over three seeds between 0.52 and 6.3 times."
        )
    few = sorted({n for p in protocols.all if isinstance(n := p.common.get("images"), int) and 0 < n < FEW_IMAGES})
    if few:
        numbers = " and ".join(map(str, few))
        words.append(f"The figures are means over {numbers} images: another test set of this size may rank otherwise.")
    return words


def no_alarm(runs: Sequence[Run]) -> str:
    """What it is worth that no run raised an alarm."""
    counts = observations(runs, "health/")
    windows = {run.name: _window(run) for run in runs}
    silent = [name for name, count in counts.items() if count < windows[name]]
    if not silent:
        return "No run raised an alarm."
    if len(silent) == len(counts):
        return (
            f"No run raised an alarm, and none could have: an alarm is the mean of {max(windows.values())} "
            f"observations, and the longest run has {max(counts.values())}."
        )
    return (
        f"No run raised an alarm. {len(silent)} of {len(counts)} runs were too short for one, with fewer observations "
        f"than the {max(windows[name] for name in silent)} that an alarm is the mean of."
    )


def _window(run: Run) -> int:
    health = (run.config.get("callbacks") or {}).get("health")
    window = health.get("window") if isinstance(health, dict) else None
    return window if isinstance(window, int) else ALARM_WINDOW


def notices(runs: Sequence[Run], groups: Sequence[Group], protocols: Protocols) -> list[tuple[str, list[str]]]:
    """What a reader must know before comparing figures: a sentence, and its particulars."""
    found: list[tuple[str, list[str]]] = []
    contradictions = [(key, texts) for key, texts, differs in protocols.rows() if differs]
    if contradictions:
        lines = [
            f"{key}: {', '.join(f'{text} ({p.letter})' for text, p in zip(texts, protocols.all, strict=True))}"
            for key, texts in contradictions
        ]
        sentence = (
            f"The runs were measured under {len(protocols.all)} protocols. Figures that are not comparable stand in "
            "columns of their own, which name the protocol. What differs:"
        )
        found.append((sentence, lines))
    repeated = [f"{group.label}: {', '.join(group.repeated_seeds)}" for group in groups if group.repeated_seeds]
    if repeated:
        found.append(("Some seeds occur more than once, so that a deviation is not over independent runs:", repeated))
    commits: dict[str, list[str]] = {}
    for run in runs:
        if run.finished:
            commits.setdefault(commit_of(run), []).append(run.name)
    if len(commits) > 1:
        lines = [f"{commit}: {len(names)} runs, {names[0]} the first" for commit, names in commits.items()]
        found.append(("The runs were not made by the same code. Commits:", lines))
    return found


def commit_of(run: Run) -> str:
    """The commit of the code that made a run."""
    git: dict[str, Any] = run.manifest.get("git") or {}
    if not git:
        return "unknown"
    return f"{str(git.get('commit'))[:12]}{', with changes that were not committed' if git.get('changed') else ''}"
