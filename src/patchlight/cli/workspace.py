"""`patchlight-workspace`: a saved workspace of a W&B project, made for the runs of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchlight.cli.command import CommandConfig, run_command
from patchlight.errors import ConfigError

if TYPE_CHECKING:
    from patchlight.loggers.wandb_workspace import Logged
    from patchlight.reporting.collect import Run

RUNS = "runs=DIR, the folder of a sweep or of several runs"
PREFERRED = ("val/lpips", "val/l1")
"""The figures that a comparison is about, where a run has them, in this order."""


class WorkspaceConfig(CommandConfig):
    """The keys of configs/workspace.yaml."""

    examples = {"runs": RUNS}

    runs: str | list[str]
    project: str | None
    entity: str | None
    name: str | None
    metric: str | None
    ignore: list[str]

    def check(self) -> None:
        if not self.runs:
            raise ConfigError(f"runs is empty: give {RUNS}")


def workspace(config: WorkspaceConfig) -> None:
    """Save the workspace, and print its address.

    Raises:
        UserError: there are no finished runs, or W&B does not take the workspace.
    """
    # Here, so that --help does not wait for them.
    from patchlight.loggers.wandb_workspace import save_workspace
    from patchlight.reporting.collect import collect

    given = [config.runs] if isinstance(config.runs, str) else config.runs
    folders = [Path(folder).expanduser() for folder in given]
    runs = [run for run in collect(folders) if run.finished]
    recorded = _logger_of(runs[0])
    project = config.project or recorded.get("project") or "patchlight"
    logged = logged_by(runs, config.metric, config.ignore)
    name = config.name or f"Patchlight: {' + '.join(folder.resolve().name for folder in folders)}"
    print(save_workspace(logged, project=str(project), entity=config.entity or recorded.get("entity"), name=name))


def logged_by(runs: Sequence[Run], metric: str | None, ignore: Sequence[str]) -> Logged:
    """What some runs log, and what tells them apart.

    Raises:
        ConfigError: no run has the metric.
    """
    from patchlight.loggers.wandb_workspace import Logged
    from patchlight.reporting.curves import curve_names
    from patchlight.reporting.differences import FROM_MANIFEST, find_differences

    names = curve_names(runs)
    quality = names["val"]
    if metric is not None and metric not in quality:
        raise ConfigError(f"metric={metric} is no figure of these runs: there are {', '.join(quality) or 'none'}")
    settings = find_differences(runs, ignore)
    keys = [key for key in settings.names if key not in FROM_MANIFEST]
    return Logged(
        quality=quality,
        losses=names["train"],
        health=names["health"],
        maps=list(dict.fromkeys(name for run in runs for name in run.manifest.get("discriminators") or {})),
        settings=keys,
        metric=metric or next((name for name in (*PREFERRED, *quality) if name in quality), "val/l1"),
        seeds=len(settings.table[keys].drop_duplicates()) < len(runs),
    )


def _logger_of(run: Run) -> dict[str, Any]:
    """The configuration of the W&B logger of a run, if it had one."""
    node = (run.config.get("logger") or {}).get("wandb")
    return node if isinstance(node, dict) else {}


main = partial(run_command, "workspace", WorkspaceConfig, workspace)
