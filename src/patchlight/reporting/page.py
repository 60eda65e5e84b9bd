"""The page of the report: the results, filled into the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from patchlight.reporting.collect import Run
from patchlight.reporting.differences import Settings, natural
from patchlight.reporting.pictures import Grid, Picture
from patchlight.reporting.plots import MAX_BANDS, Plot, colour_of, dashes_of
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import NOTHING, Group, Table

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
WEIGHTS_TITLES = {"last": "last weights", "best": "best weights", "untrained": "untrained weights"}


@dataclass(frozen=True, eq=False)
class Content:
    """The content of the page. `tables` and `protocols` begin with the weights that were asked for."""

    title: str
    command: str
    runs: Sequence[Run]
    groups: Sequence[Group]
    settings: Settings
    all_settings: Settings
    tables: Sequence[Table]
    protocols: Protocols
    key_plots: Sequence[Plot]
    series: Sequence[str]
    curves: dict[str, Sequence[Plot]]
    grids: Sequence[Grid]
    more_grids: Sequence[Grid]
    sheets: Sequence[tuple[Run, Picture]]


def render(content: Content) -> str:
    """The page as HTML that needs nothing from anywhere else."""
    folder = files("patchlight.reporting")
    texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in (TEMPLATE, STYLE, SCRIPT)}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"svg": lambda plot: Markup(plot.svg), "or_nothing": lambda text: text or "\N{EN DASH}"}
    return environment.get_template(TEMPLATE).render(
        c=content,
        style=Markup(texts[STYLE]),
        script=Markup(texts[SCRIPT]),
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        finished=[run for run in content.runs if run.finished],
        others=[run for run in content.runs if not run.finished],
        group_of={run.name: group for group in content.groups for run in group.runs},
        notices=notices(content),
        alarms=[(run, alarm) for run in content.runs for alarm in run.alarms],
        versions=versions(content.runs),
        swatch=swatch,
        seed_count=len({str(run.seed) for run in content.runs if run.finished}),
        with_bands=len(content.groups) <= MAX_BANDS,
        sorting=_sorting,
        short=lambda value: f"{value:.4g}" if isinstance(value, int | float) else str(value or NOTHING),
        weights_titles=WEIGHTS_TITLES,
    )


def notices(content: Content) -> list[tuple[str, list[str]]]:
    """What a reader must know before comparing figures: a sentence, and its particulars."""
    found: list[tuple[str, list[str]]] = []
    protocols = content.protocols
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
    repeated = [f"{group.label}: {', '.join(group.repeated_seeds)}" for group in content.groups if group.repeated_seeds]
    if repeated:
        found.append(("Some seeds occur more than once, so that a deviation is not over independent runs:", repeated))
    commits: dict[str, list[str]] = {}
    for run in content.runs:
        if run.finished:
            commits.setdefault(_commit(run), []).append(run.name)
    if len(commits) > 1:
        lines = [f"{commit}: {len(names)} runs, {names[0]} the first" for commit, names in commits.items()]
        found.append(("The runs were not made by the same code. Commits:", lines))
    return found


def versions(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Every package with the versions that the finished runs had, commit and hardware included."""
    rows: dict[str, list[str]] = {}
    for run in runs:
        if not run.finished:
            continue
        hardware = run.manifest.get("hardware") or {}
        machine = [hardware.get("processor"), f"{hardware.get('cores')} cores", *hardware.get("gpus", [])]
        texts = {
            "commit": _commit(run),
            **(run.manifest.get("versions") or {}),
            "hardware": ", ".join(str(part) for part in machine if part) if hardware else NOTHING,
        }
        for name, text in texts.items():
            if str(text) not in rows.setdefault(name, []):
                rows[name].append(str(text))
    return list(rows.items())


def swatch(number: int) -> Markup:
    """A short line in the colour and dashes of a group."""
    dashes = " ".join(f"{2 * n:g}" for n in dashes_of(number))
    return Markup(
        '<svg class="swatch" viewBox="0 0 22 8" aria-hidden="true"><line x1="1" y1="4" x2="21" y2="4" '
        'stroke="{}" stroke-width="4" stroke-dasharray="{}"/></svg>'
    ).format(colour_of(number), dashes or "none")


def _sorting(text: str) -> str:
    """What the page's script sorts a setting by: a number as such, nothing last."""
    kind, number, word = natural(text)
    return str(number) if kind == 1 else word


def _commit(run: Run) -> str:
    git: dict[str, Any] = run.manifest.get("git") or {}
    if not git:
        return "unknown"
    return f"{str(git.get('commit'))[:12]}{', with changes that were not committed' if git.get('changed') else ''}"
