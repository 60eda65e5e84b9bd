"""Composing the configuration, and saying clearly what is wrong with it. Imports nothing heavy."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from patchlight.config.files import fault, find, first_fault
from patchlight.config.messages import explain, one_line
from patchlight.config.naming import run_id
from patchlight.config.plan import Plan, job_folder, sweep_folder
from patchlight.errors import ConfigError


def config_dir() -> Path:
    """The folder of YAML files: inside the package where it was installed, beside `src/` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def register_resolvers() -> None:
    """Make known `${run_id:}`, by which no two runs ever share a directory, and the names of a sweep's folders."""
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def compose_config(config_name: str, overrides: Sequence[str] = (), with_hydra: bool = False) -> DictConfig:
    """The configuration that a command line with these overrides gets, Hydra's own part included if asked for.

    Raises:
        ConfigError: an unknown key, an unknown choice of a group, an override or a file that cannot be read.
    """
    register_resolvers()
    folders = [*_searched(overrides), config_dir()]
    _check_chosen(config_name, overrides, folders)
    with _hydra_of_its_own(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            return compose(config_name, overrides=list(overrides), return_hydra_config=with_hydra)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, config_name, overrides, folders)) from None
        except Exception as error:  # such as a ValueError of Hydra's, which does not say which file is at fault
            found = first_fault(folders, overrides)
            null = next((f"{override} is no choice: " for override in overrides if override.endswith("=null")), "")
            raise ConfigError(found or f"{null}the configuration cannot be composed: {one_line(error)}") from None


def _searched(overrides: Sequence[str]) -> list[Path]:
    """The folders in which files are looked for before those of this package."""
    given = [override for override in overrides if override.startswith("hydra.searchpath=")]
    return [Path(path) for override in given for path in re.findall(r"file://([^'\",\]]+)", override)]


def _check_chosen(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Look at the files that are chosen by name, of which Hydra would say less or, of a byte order mark, nothing."""
    choices = [override.lstrip("+").partition("=")[::2] for override in overrides]
    for name in (config_name, *(f"{group}/{choice}" for group, choice in choices)):
        path = find(name, folders)
        found = fault(path) if path is not None else None
        if found is not None:
            raise ConfigError(found)


@contextmanager
def _hydra_of_its_own() -> Iterator[None]:
    """Hydra knows one configuration folder at a time; that of a command that is running is put back afterwards."""
    known = GlobalHydra.instance()
    of_command, known.hydra = known.hydra, None
    try:
        yield
    finally:
        known.hydra = of_command


@dataclass(frozen=True)
class Command:
    """What a command line asks for: the configuration of its first job and of each further value of a sweep."""

    configs: list[DictConfig]
    hydra: DictConfig
    plan: Plan | None
    """What is swept; None for a single run."""

    @property
    def searches(self) -> bool:
        """Whether a sweeper chooses the values, by an objective."""
        return self.plan is not None and "direction" in self.hydra.sweeper

    @property
    def side_by_side(self) -> bool:
        """Whether the jobs of a sweep run as processes of this one."""
        return self.plan is not None and "joblib" in self.hydra.launcher["_target_"]


def read_command_line(argv: Sequence[str], config_name: str) -> Command | None:
    """Compose what a command line asks for before Hydra runs it, each value of a sweep included.

    Returns None where it only asks for help or information.

    Raises:
        ConfigError: as `compose_config`, or values of a sweep that cannot be meant.
    """
    args = get_args_parser().parse_args(list(argv))
    if args.help or args.hydra_help or args.info or args.cfg or args.shell_completion:
        return None
    name = args.config_name or config_name
    if name != config_name and (config_dir() / f"{name}.yaml").is_file():
        raise ConfigError(f"--config-name={name} is the configuration of another command: leave it out")
    searchpath = [_searchpath(args.config_dir)] if args.config_dir else []
    plan = Plan.of([], _parse(args.overrides))
    if "sweep" in plan.keys:
        raise ConfigError("sweep takes one choice at a time: start the sweeps one after the other")
    beginning = next(plan.variants())[1]
    first, hydra = _split(compose_config(name, [*searchpath, *beginning], with_hydra=True))
    several = args.multirun or hydra.mode == RunMode.MULTIRUN
    params = (hydra.sweeper.get("params") or {}) if several else {}
    if params:
        plan = Plan.of(_parse([f"{key}={value}" for key, value in params.items()]), plan.overrides)
    elif not plan.keys:
        return Command([first], hydra, plan if several else None)
    command = Command([], hydra, plan if several else None)
    if several and not command.searches:
        _require_grid(plan)
    seen: list[tuple[str, Any]] = []
    for label, overrides in plan.variants():
        cfg = first if overrides == beginning else compose_config(name, [*searchpath, *overrides])
        content = OmegaConf.to_container(cfg)
        for other in (other for other, its_content in seen if its_content == content):
            raise ConfigError(
                f"{label} makes the same job as {other or 'the values before it'}: the value is there twice, or what "
                f"it sets is set again by another key of the command line, of the experiment or of a local file"
            )
        seen.append((label, content))
        command.configs.append(cfg)
    return command


def _searchpath(folder: str) -> str:
    """The override that has files looked for in a folder, too.

    Raises:
        ConfigError: it is none.
    """
    if not Path(folder).is_dir():
        raise ConfigError(f"--config-dir={folder} is not a folder: give one with experiment/NAME.yaml and the like")
    return f"hydra.searchpath=['file://{Path(folder).resolve()}']"


def check_command_line(argv: Sequence[str], config_name: str) -> list[DictConfig]:
    """The configurations of `read_command_line`, none where the command line asks for help or information."""
    command = read_command_line(argv, config_name)
    return command.configs if command is not None else []


def _parse(overrides: Sequence[str]) -> list[Override]:
    for override in overrides:
        if not override.lstrip("+~").partition("=")[0]:
            raise ConfigError(f"{override!r} cannot be read: write key=value")
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(f"{error.override!r} cannot be read: write key=value ({one_line(error)})") from None


def _split(cfg: DictConfig) -> tuple[DictConfig, DictConfig]:
    """The configuration without Hydra's own part, and that part, which still leads to the rest."""
    job = copy.deepcopy(cfg)
    with open_dict(job):
        del job["hydra"]
    return job, cfg.hydra


def _require_grid(plan: Plan) -> None:
    for override in plan.overrides:
        if override.is_interval_sweep():
            raise ConfigError(f"{override.input_line} is an interval, in which only sweep=optuna chooses values")


def complete(cfg: DictConfig) -> None:
    """Fill in, in place, what follows from other keys unless it was given.

    Raises:
        ConfigError: a mandatory value is missing, or an interpolation leads nowhere.
    """
    with explained("the configuration"):
        missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]} is not set: give {missing[0]}=VALUE")
    with explained("the configuration"):
        if cfg.trainer.max_epochs is None:
            schedule = cfg.model.get("schedule")
            if schedule is None:
                raise ConfigError("trainer.max_epochs=null takes the length of model.schedule, which is null: give one")
            cfg.trainer.max_epochs = schedule.n_epochs + schedule.n_epochs_decay
        OmegaConf.resolve(cfg)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an error of OmegaConf's into a ConfigError of one line."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{what} cannot be resolved: {one_line(error)}") from None


# Here, so that a process to which a launcher hands a job knows it, too.
register_resolvers()
