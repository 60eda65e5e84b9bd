"""What a command line asks for: composed before Hydra runs it, and handed to Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from hydra import main as hydra_main
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from patchlight import __version__
from patchlight.config.compose import compose_config, config_dir, digest
from patchlight.config.messages import one_line
from patchlight.errors import ConfigError, one_message
from patchlight.system.job_record import choose_folders

FREE_MAPPINGS = (
    "model.generator_terms", "model.penalties", "model.optimizers", "model.discriminator_augment",
    "model.discriminator.discriminators", "model.discriminator.weights", "callbacks.quality.metrics",
    "extras",
)  # fmt: skip
"""Parts of a training's configuration to which a command line adds under names of its own."""

MAX_CHOICES_CHECKED = 64
"""How many values of one key are checked before a sweep starts."""

NOT_PART_OF_A_JOB = ("hydra.", "hydra/", "launcher=", "sweep=", "resume=")
"""What may be changed when a sweep is started again, and it is still the same sweep."""


@dataclass(frozen=True)
class Plan:
    """The overrides of a sweep: those of its sweeper, and those of the command line, which go before them."""

    overrides: tuple[Override, ...]

    @classmethod
    def of(cls, params: Iterable[Override], command_line: Iterable[Override]) -> Plan:
        """Of two overrides of one key the last holds, as in Hydra's sweepers."""
        return cls(tuple({str(o.get_key_element()): o for o in (*params, *command_line)}.values()))

    @property
    def keys(self) -> list[str]:
        """The keys that differ from job to job."""
        return [str(o.get_key_element()) for o in self.overrides if _is_swept(o)]

    def variants(self) -> Iterator[tuple[str, list[str]]]:
        """The first job, then each further value of every key with the first of the others.

        Each with the `key=value` that makes the difference, of the first job the empty string.
        """
        choices = [_choices(override) for override in self.overrides]
        first = [values[0] for values in choices]
        yield "", first
        for i, values in enumerate(choices):
            for value in values[1:MAX_CHOICES_CHECKED]:
                yield value, [*first[:i], value, *first[i + 1 :]]

    def folder(self, name: str, searches: bool) -> str:
        """The name of the sweep's folder: that of the sweep, and a hash of what all of its jobs have in common.

        The values of a grid are left out, so that one with more of them goes on in the same folder; those that a
        sweeper `searches` in belong to its study and stay.
        """
        words = ((o.input_line or "").removeprefix("++") for o in self.overrides if searches or not _is_swept(o))
        return f"{name}-{digest(*sorted(word for word in words if not word.startswith(NOT_PART_OF_A_JOB)))}"


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

    Returns None where it only asks for help or information; asked for the version, it prints that and ends the process.

    Raises:
        ConfigError: as `compose_config`, or values of a sweep that cannot be meant.
    """
    if "--version" in argv:
        print(f"patchlight {__version__}")
        raise SystemExit(0)
    args = get_args_parser().parse_args(list(argv))
    if args.help or args.hydra_help or args.info or args.cfg or args.shell_completion:
        return None
    name = args.config_name or config_name
    if name != config_name and (config_dir() / f"{name}.yaml").is_file():
        raise ConfigError(f"--config-name={name} is the configuration of another command: leave it out")
    searchpath = []
    if args.config_dir:
        if not Path(args.config_dir).is_dir():
            raise ConfigError(
                f"--config-dir={args.config_dir} is not a folder: give one with experiment/NAME.yaml and the like"
            )
        searchpath = [f"hydra.searchpath=['file://{Path(args.config_dir).resolve()}']"]
    choose_folders(args.config_dir)
    folder = Path(args.config_path).absolute() if args.config_path else None
    plan = Plan.of([], _parse(args.overrides))
    if "sweep" in plan.keys:
        raise ConfigError("sweep takes one choice at a time: start the sweeps one after the other")
    beginning = next(plan.variants())[1]
    composed = compose_config(name, [*searchpath, *beginning], with_hydra=True, folder=folder)
    first, hydra = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]), composed.hydra
    several = args.multirun or hydra.mode == RunMode.MULTIRUN
    params = (hydra.sweeper.get("params") or {}) if several else {}
    if params:
        plan = Plan.of(_parse([f"{key}={value}" for key, value in params.items()]), plan.overrides)
    elif not plan.keys:
        return Command([first], hydra, plan if several else None)
    command = Command([], hydra, plan if several else None)
    if several and not command.searches:
        for override in plan.overrides:
            if override.is_interval_sweep():
                raise ConfigError(f"{override.input_line} is an interval, in which only sweep=optuna chooses values")
    seen: list[tuple[str, Any]] = []
    for label, overrides in plan.variants():
        cfg = first if overrides == beginning else compose_config(name, [*searchpath, *overrides], folder=folder)
        content = OmegaConf.to_container(cfg)
        for other in (other for other, its_content in seen if its_content == content):
            raise ConfigError(
                f"{label} makes the same job as {other or 'the values before it'}: the value is there twice, or what "
                f"it sets is set again by another key of the command line, of the experiment or of a local file"
            )
        seen.append((label, content))
        command.configs.append(cfg)
    return command


def swept_keys(overrides: Sequence[str]) -> list[str]:
    """The keys of which overrides give several values.

    Raises:
        ConfigError: an override that cannot be read.
    """
    return Plan.of([], _parse(overrides)).keys


def with_free_keys(argv: Sequence[str], mappings: Sequence[str]) -> list[str]:
    """A command line on which these mappings take keys that stand in no file: Hydra's word for that is `++`."""
    free = tuple(f"{mapping}{end}" for mapping in mappings for end in ".=")
    return [f"++{word}" if word.startswith(free) else word for word in argv]


def start_hydra(verb: str, job: Callable[[DictConfig], float | None]) -> None:
    """Have Hydra compose the configuration of a command and call `job` with it, once or for each job of a sweep.

    `hydra.job.name` is the name of the module that `job` comes from, as if Hydra had been started there.
    """

    @wraps(job)
    def reported(cfg: DictConfig) -> float | None:
        with one_message(f"patchlight-{verb}"):
            return job(cfg)

    hydra_main(version_base="1.3", config_path=str(config_dir()), config_name=verb)(reported)()


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


def _is_swept(override: Override) -> bool:
    return override.is_sweep_override() and not override.is_hydra_override()


def _choices(override: Override) -> list[str]:
    """The values of an override, of an interval its two ends."""
    if not _is_swept(override):
        return [override.input_line or ""]
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={text}" for text in override.sweep_string_iterator()]
