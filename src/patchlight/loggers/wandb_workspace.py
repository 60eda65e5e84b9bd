"""A saved workspace of a W&B project: sections for what its runs log, and the comparison of a sweep."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchlight.config.messages import one_line
from patchlight.errors import ConfigError
from patchlight.loggers.wandb_run import BATCHES

if TYPE_CHECKING:
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2.interface import PanelTypes as Panel


@dataclass(frozen=True)
class Logged:
    """The names of what the runs of a project log.

    `settings` are the configuration keys that tell the runs apart, `maps` are the patch maps, and `metric` is the
    figure that the comparison is about. With `seeds`, runs that differ by their seed only are drawn as their mean.
    """

    quality: Sequence[str]
    losses: Sequence[str]
    health: Sequence[str]
    maps: Sequence[str]
    settings: Sequence[str]
    metric: str
    seeds: bool


def save_workspace(logged: Logged, *, project: str, entity: str | None, name: str) -> str:
    """Save a workspace as a new view of the project; its address. None of the project's other views is changed.

    `entity` None is the account's own.

    Raises:
        ConfigError: wandb-workspaces is not installed, or W&B does not take the workspace.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise ConfigError("a workspace needs wandb-workspaces: pip install 'patchlight[workspace]'")
    import wandb
    import wandb_workspaces.workspaces as ws

    try:
        owner = entity or wandb.Api().default_entity
        if not owner:
            raise ConfigError("entity is not set, and W&B knows no account: `wandb login`, or give entity=NAME")
        workspace = ws.Workspace(
            entity=owner,
            project=project,
            name=name,
            sections=sections(logged),
            settings=ws.WorkspaceSettings(x_axis=BATCHES, group_by_prefix="first", max_runs=20),
            runset_settings=ws.RunsetSettings(
                groupby=[ws.Config(key) for key in logged.settings] if logged.seeds else [],
            ),
        )
        return str(workspace.save().url)  # type: ignore[no-untyped-call]
    except ConfigError:
        raise
    except Exception as error:  # whatever the server or the network says
        raise ConfigError(f"W&B did not take the workspace of project={project} ({one_line(error)[:240]})") from None


def sections(logged: Logged) -> list[ws.Section]:
    """The sections of the workspace; those without anything in them are left out."""
    import wandb_workspaces.reports.v2.interface as wr
    import wandb_workspaces.workspaces as ws

    comparison: list[Panel] = []
    if logged.settings:
        columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key)) for key in logged.settings]
        columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(logged.metric)))
        comparison = [
            wr.ParallelCoordinatesPlot(title=f"What leads to {logged.metric}", columns=columns, layout=wr.Layout(w=24)),
            wr.ParameterImportancePlot(with_respect_to=logged.metric),
            wr.RunComparer(diff_only="split"),
        ]
    samples: list[Panel] = [wr.MediaBrowser(title="samples", media_keys=["samples"], num_columns=1)]
    maps: list[Panel] = [
        wr.MediaBrowser(title=name, media_keys=[f"patch_maps/{name}"], num_columns=1) for name in logged.maps
    ]
    found = [
        ws.Section(name="Comparison", panels=comparison, is_open=True),
        ws.Section(name="Quality", panels=_curves(logged.quality), is_open=True),
        ws.Section(name="Samples", panels=samples, is_open=True),
        ws.Section(name="Patch maps", panels=maps, is_open=True),
        ws.Section(name="Losses", panels=_curves(logged.losses), is_open=True),
        ws.Section(name="Health", panels=_curves(logged.health)),
    ]
    return [section for section in found if section.panels]


def _curves(names: Sequence[str]) -> list[Panel]:
    import wandb_workspaces.reports.v2.interface as wr

    return [wr.LinePlot(title=name, x=BATCHES, y=[name], title_x="batches") for name in names]
