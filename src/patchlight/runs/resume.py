"""The checkpoint that a run goes on from, or whose weights it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lightning.pytorch import Callback
from torch import Tensor

from patchlight.callbacks import EMA
from patchlight.checkpoint import EMA_KEY, LAST, read_checkpoint, verify
from patchlight.errors import ConfigError, DataError
from patchlight.methods import TranslationMethod
from patchlight.networks import Network


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint that a run continues, what the run needs of it before it is loaded, and sentences about the choice.

    Tensors are not in here: they would stay in memory for as long as the run.
    """

    path: Path
    batch: int
    epoch: int
    csv_rows: int
    wandb_id: str | None
    has_pools: bool
    same_run: bool = True
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, *, same_run: bool) -> ResumePoint:
        """That of a file, of which little is read.

        Raises:
            DataError: the file is missing or cannot be used, as far as can be seen from that.
            ConfigError: it holds weights alone.
        """
        checkpoint = read_checkpoint(path, mapped=True)
        if "optimizer_states" not in checkpoint:
            raise ConfigError(f"resume={path} holds weights alone: begin with them by init_from={path}")
        try:
            return cls(
                path,
                batch=checkpoint["global_step"],
                epoch=checkpoint["position"]["epoch"],
                csv_rows=checkpoint["loggers"]["csv_rows"] or 0,
                wandb_id=checkpoint["loggers"]["wandb_id"],
                has_pools=all(rank.get("pools", {}) is not None for rank in checkpoint["ranks"]),
                same_run=same_run,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} lacks a part that a run needs to go on from it: {error}") from None

    def __str__(self) -> str:
        pools = "" if self.has_pools else "; it is without image pools, which begin anew: not to the same bits"
        return f"going on from {self.path.name}, batch {self.batch}{pools}"


def find_checkpoint(resume: str | None, run_dir: Path) -> ResumePoint | None:
    """The checkpoint that `resume` means: `auto` is the newest good one in the run's folder, or none if it has none.

    Its checksums have been compared. The newest is the one with most batches; those that hold all that an exact
    continuation needs come before those that do not.

    Raises:
        DataError: the file is missing or cannot be used, or every one of the folder is damaged.
        ConfigError: the folder holds another run, or the file weights alone.
    """
    folder = run_dir / "checkpoints"
    if resume == "auto":
        return _newest(folder)
    path = Path(resume) if resume is not None else None
    same_run = path is not None and path.resolve().parent == folder.resolve()
    if not same_run and any(folder.glob("*.ckpt")):
        raise ConfigError(
            f"hydra.run.dir={run_dir} holds a run already, which would be lost: go on with it by resume=auto, or "
            f"choose another folder"
        )
    if path is None:
        return None
    verify(path)
    point = ResumePoint.read(path, same_run=same_run)
    return point if point.has_pools else replace(point, notes=(str(point),))


def _newest(folder: Path) -> ResumePoint | None:
    points: list[ResumePoint] = []
    damaged: list[str] = []
    for path in sorted(folder.glob("*.ckpt")):
        try:
            points.append(ResumePoint.read(path, same_run=True))
        except DataError as error:
            damaged.append(str(error))
    for point in sorted(points, key=lambda p: (p.has_pools, p.batch, p.path.name == LAST), reverse=True):
        try:
            verify(point.path)
        except DataError as error:
            damaged.append(str(error))
            continue
        return replace(point, notes=(*damaged, str(point)))
    if damaged:
        raise DataError(f"resume=auto found no good checkpoint in {folder}: {'; '.join(damaged)}")
    return None


def set_aside_later(point: ResumePoint) -> list[str]:
    """Rename the checkpoints of a run's folder that are of later batches than the one that it was told to go on from.

    They belong to a part of the run that is going to be repeated, and resume=auto would go on from them. Returns a
    sentence about each.
    """
    said = []
    for path in sorted(point.path.parent.glob("*.ckpt")):
        try:
            other = ResumePoint.read(path, same_run=True)
        except (ConfigError, DataError):
            continue
        if other.batch > point.batch:
            kept = path.with_suffix(f".batch{other.batch}")
            path.replace(kept)
            said.append(f"{path.name} is of batch {other.batch}, which is going to be repeated: kept as {kept.name}")
    return said


def require_fit(method: TranslationMethod, point: ResumePoint, max_epochs: int) -> None:
    """Load a checkpoint's networks, and see that there is something left to be done.

    Raises:
        ConfigError: its networks are others than those of the configuration, or it has more epochs.
    """
    try:
        method.load_state_dict(read_checkpoint(point.path, mapped=True)["state_dict"])
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"resume={point.path} holds other networks than model describes: go on with the settings of config.yaml "
            f"beside the checkpoint's folder ({detail})"
        ) from None
    if -1 < max_epochs < point.epoch:
        raise ConfigError(
            f"trainer.max_epochs={max_epochs} is less than the {point.epoch} epochs that {point.path} has behind it: "
            f"give at least as many, or resume= an earlier checkpoint"
        )


def load_initial_weights(
    init_from: str,
    resume: str | None,
    method: TranslationMethod,
    callbacks: Mapping[str, Callback],
    *,
    is_resuming: bool,
) -> list[str]:
    """Begin a training with the weights of a checkpoint, the averages of `callbacks=ema` too, and nothing else of it.

    A run that goes on with a checkpoint of its own, by resume=auto, keeps its weights. Returns a sentence about each
    network that begins with the weights of a smaller one (`initial_state`).

    Raises:
        ConfigError: `resume` names a checkpoint, too; or the file holds other networks.
        DataError: the file is missing or cannot be used.
    """
    if resume not in (None, "auto"):
        raise ConfigError("init_from begins a new training and resume goes on with one: give one of the two")
    if is_resuming:
        return []
    checkpoint = read_checkpoint(init_from)
    prefixes = tuple(f"{name}." for name in method.networks)
    # The rest of a method's state, such as its labels, is that of the new configuration.
    own = {key: value for key, value in method.state_dict().items() if not key.startswith(prefixes)}
    state, smaller = _initial_states(method, checkpoint["state_dict"])
    try:
        method.load_state_dict({**own, **state})
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"init_from={init_from} holds other networks than model describes: give the model's settings of the "
            f"training that made it ({detail})"
        ) from None
    for callback in callbacks.values():
        if isinstance(callback, EMA):
            averages, _ = _initial_states(method, checkpoint.get(EMA_KEY, {}))
            callback.averages = {key: value.clone() for key, value in averages.items()}
            callback.batches = checkpoint.get("ema_batches", 0)
    return [f"{name} begins with the weights of a smaller network in {init_from}; the rest is new" for name in smaller]


def _initial_states(method: TranslationMethod, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The states that a method's networks begin with, given some of a checkpoint, and those that had a smaller one."""
    found: dict[str, Tensor] = {}
    smaller = []
    for name, network in method.modules_of().items():
        prefix = f"{name}."
        given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        initial = network.initial_state(given) if isinstance(network, Network) else given
        found |= {prefix + key: value for key, value in initial.items()}
        if initial.keys() != given.keys():
            smaller.append(name)
    return found, smaller
