"""The page of the report: the results, filled into the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import jinja2
from markupsafe import Markup

from patchlight.reporting.collect import Run
from patchlight.reporting.curves import Axis
from patchlight.reporting.differences import Settings, natural
from patchlight.reporting.pictures import Grid, Picture, heat_gradient
from patchlight.reporting.plots import MAX_BANDS, Plot, colour_of, dashes_of
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import NOTHING, Group, Table
from patchlight.reporting.words import cautions, commit_of, no_alarm, notices, questions, verdict_sentences

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
WEIGHTS_TITLES = {"last": "last weights", "best": "best weights", "untrained": "untrained weights"}


@dataclass(frozen=True, eq=False)
class Content:
    """The content of the page. `tables`, `protocols` and `axes` begin with what was asked for.

    `curves` are by section; a figure's plots are by the name of their axis.
    """

    title: str
    place: str
    command: str
    markdown: str
    runs: Sequence[Run]
    groups: Sequence[Group]
    settings: Settings
    all_settings: Settings
    tables: Sequence[Table]
    protocols: Protocols
    key_plots: Sequence[Plot]
    series: Sequence[str]
    axes: Sequence[Axis]
    curves: Mapping[str, Sequence[Mapping[str, Plot]]]
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
    environment.filters |= {
        "svg": lambda plot: Markup(plot.svg),
        "or_nothing": lambda text: text or "\N{EN DASH}",
        "extract": lambda key, names: names[key],
        "command": lambda manifest: manifest.get("command", "the command was not recorded"),
    }
    return environment.get_template(TEMPLATE).render(
        c=content,
        style=Markup(texts[STYLE]),
        script=Markup(texts[SCRIPT]),
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        finished=[run for run in content.runs if run.finished],
        others=[run for run in content.runs if not run.finished],
        group_of={run.name: group for group in content.groups for run in group.runs},
        notices=notices(content.runs, content.groups, content.protocols),
        questions=questions([run for run in content.runs if run.finished]),
        verdicts=verdict_sentences(content.tables[0]),
        cautions=cautions(content.tables[0], content.protocols),
        no_alarm=no_alarm([run for run in content.runs if run.finished]),
        heat_colours=heat_gradient(),
        alarms=[(run, alarm) for run in content.runs for alarm in run.alarms],
        versions=versions(content.runs),
        swatch=swatch,
        seed_count=len({str(run.seed) for run in content.runs if run.finished}),
        with_bands=len(content.groups) <= MAX_BANDS,
        sorting=_sorting,
        short=lambda value: f"{value:.4g}" if isinstance(value, int | float) else str(value or NOTHING),
        weights_titles=WEIGHTS_TITLES,
    )


def versions(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Every package with the versions that the finished runs had, commit and hardware included."""
    rows: dict[str, list[str]] = {}
    for run in runs:
        if not run.finished:
            continue
        hardware = run.manifest.get("hardware") or {}
        machine = [hardware.get("processor"), f"{hardware.get('cores')} cores", *hardware.get("gpus", [])]
        texts = {
            "commit": commit_of(run),
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
