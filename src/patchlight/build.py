"""The only place that turns configuration into objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from patchlight.checkpoint import AtomicCheckpointIO
from patchlight.config.attribution import errors_for_key
from patchlight.config.compose import DATA_KEYS
from patchlight.config.validation import locate
from patchlight.config.validation.signatures import signature
from patchlight.data.content import Content
from patchlight.data.contents import contents_of
from patchlight.data.contract import LoaderData, TrainingData
from patchlight.data.labels import LabelMaps, label_maps
from patchlight.errors import ConfigError
from patchlight.loggers import WandbRun
from patchlight.loggers.wandb_identity import identity
from patchlight.loggers.wandb_session import warming_up
from patchlight.methods import TranslationMethod
from patchlight.networks import Discriminator, DiscriminatorEnsemble, Generator, init_weights
from patchlight.parallel import DDP_STARTS, PerNetworkDDP
from patchlight.parallel.networks import Performance
from patchlight.system.lightning_internals import is_first

__all__ = ["build_data", "build_loggers", "build_method", "build_trainer", "data_channels"]

TRAINING_KEYS = frozenset({"generator_terms", "discriminator_augment", "perceptual"})
"""Parts of `model` that are used in the steps of a training only."""


def build_method(model: DictConfig, channels: Mapping[str, int], *, for_training: bool = True) -> TranslationMethod:
    """The LightningModule of a `model` section, its networks built and initialised.

    `channels` says how many each domain of a batch, "A" and "B", has: the data decides the networks' shape. Unless
    `for_training`, feature networks of the generator's terms and the like are not made.

    Raises:
        ConfigError: a value that a network, loss or method refuses, by its key.
    """
    table = locate_method(model).networks
    networks: dict[str, nn.Module] = {}
    for name in table:
        networks[name] = build_network(model, name, channels, networks)
    parts = {"init", *(spec.config for spec in table.values())}
    parts |= set() if for_training else TRAINING_KEYS
    own = {key: value for key, value in model.items() if key not in parts}
    with errors_for_key("model"):
        method: TranslationMethod = instantiate(own, **networks, _convert_="all")
    method.require_in_table()
    return method


def locate_method(model: Mapping[str, Any] | DictConfig) -> type[TranslationMethod]:
    """The class of a `model` section, which has the table of its networks.

    Raises:
        ConfigError: it names no method.
    """
    method = locate(model["_target_"], "model")
    if not (isinstance(method, type) and issubclass(method, TranslationMethod)):
        raise ConfigError(f"model._target_={model['_target_']} is no method: derive it from TranslationMethod")
    return method


def build_network(
    model: DictConfig, name: str, channels: Mapping[str, int], built: Mapping[str, nn.Module] | None = None
) -> nn.Module:
    """One network of a method by its name in the table, with initial weights.

    It is given `in_channels` of the domains that it reads and `out_channels` of the one that it writes, where it does,
    and the method's `network_arguments`. Networks that these look at are those of `built`, or are made without data.
    Of several discriminators each is given these.
    """
    method = locate_method(model)
    spec = method.networks[name]
    sizes: dict[str, Any] = {"in_channels": sum(channels[domain] for domain in spec.domains)} if spec.domains else {}
    if spec.writes is not None:
        sizes["out_channels"] = channels[spec.writes]

    def other(name: str) -> nn.Module:
        if built is not None and name in built:
            return built[name]
        with torch.device("meta"):
            return build_network(model, name, channels)

    with errors_for_key("model"):
        further = method.network_arguments(name, model, channels, other)
    takes = signature(model[spec.config]["_target_"], f"model.{spec.config}")
    sizes |= {key: value for key, value in further.items() if takes.has(key)}
    sizes = _sizes_of_each(model[spec.config], sizes)
    with errors_for_key(f"model.{spec.config}"):
        network: nn.Module = instantiate(model[spec.config], **sizes, _convert_="all")
    if not isinstance(network, {"generator": Generator, "discriminator": Discriminator}.get(spec.kind, nn.Module)):
        raise ConfigError(
            f"model.{spec.config}._target_={model[spec.config]._target_} makes a {type(network).__name__}: derive it "
            f"from patchlight.networks.{spec.kind.capitalize()}, which says what images it can take"
        )
    lacking = [key for key in spec.further if isinstance(network, Generator) and key not in network.conditions]
    if lacking:
        raise ConfigError(
            f"model.{spec.config}._target_={model[spec.config]._target_} has no condition {lacking[0]!r}, which the "
            f"method's table of networks has it read: describe it in `conditions`, as patchlight.networks.Condition"
        )
    with errors_for_key("model.init"):
        init_weights(network, **{str(key): value for key, value in model.init.items()})
    return network


def _sizes_of_each(config: DictConfig, sizes: dict[str, Any]) -> dict[str, Any]:
    """The sizes of a network, or for several discriminators those of each, by the keys of its configuration."""
    target = config.get("_target_")
    if target is None or locate(target, "model") is not DiscriminatorEnsemble:
        return sizes
    members = (config.get("discriminators") or {}).items()
    return {"discriminators": {name: _sizes_of_each(each, sizes) for name, each in members if each is not None}}


def data_channels(data: DictConfig) -> dict[str, int]:
    """The channels of domains A and B as a batch holds them, after `data.direction`."""
    return {domain: content.channels for domain, content in data_contents(data).items()}


def data_contents(data: DictConfig) -> dict[str, Content]:
    """What domains A and B hold as a batch has them, after `data.direction`.

    Records of earlier versions have only some of the keys, and so do data modules of one's own.
    """
    given: dict[str, Any] = OmegaConf.to_container(data, resolve=True)  # type: ignore[assignment]
    a, b = contents_of(given)
    return {"A": a, "B": b} if given["direction"] == "AtoB" else {"A": b, "B": a}


def data_labels(data: DictConfig) -> LabelMaps | None:
    """What the label maps hold that a data section describes; None of images, as in records of earlier versions."""
    return label_maps(data.get("n_classes"), bool(data.get("instances")))


def try_optimizers(method: TranslationMethod) -> None:
    """Build the optimizers and their schedules once, for a single number, before there is anything to lose.

    Raises:
        ConfigError: one of them refuses its settings, which a training would find out with all images read.
    """
    keys = {"g": "optimizer", "d": "optimizer_d"}
    for name, factory in method.optimizer_factories.items():
        with errors_for_key(f"model.{keys.get(name, f'optimizers.{name}')}"):
            optimizer = factory([nn.Parameter(torch.zeros(1))])
        with errors_for_key("model.schedule"):
            method.schedule_factory(optimizer)


def build_data(data: DictConfig, method: TranslationMethod) -> TrainingData:
    """The data module; Patchlight's refuses images that the method's networks cannot take.

    Raises:
        ConfigError: it is no LightningDataModule, refuses a value, or has label maps which the method would make.
    """
    a = data_contents(data)["A"]
    if not a.can_be_made and any(spec.writes == "A" for spec in method.networks.values()):
        what = "label maps" if isinstance(a, LabelMaps) else "lightness alone"
        instead = "images in place of class indices" if isinstance(a, LabelMaps) else "whole pictures"
        raise ConfigError(
            f"data.{a.key('a')}: {type(method).__name__} translates into domain A, too, and {what} "
            f"cannot be made; take a method with one direction, or {instead}"
        )
    if data.get("mask") and not method.counts_valid_pixels:
        raise ConfigError(f"data.mask=true: {type(method).__name__} counts all pixels; take pix2pix, or no masks")
    needs = {
        "size_multiple": max((network.size_multiple for network in method.generators), default=1),
        "min_size": max((network.min_size for network in method.discriminators), default=1),
    }
    smallest = max((network.min_size for network in method.generators), default=1)
    sides = data.image_size if OmegaConf.is_list(data.image_size) else [data.image_size]
    if min(sides) < smallest:
        raise ConfigError(
            f"data.image_size={data.image_size} is too small for the generator, which needs at least {smallest} pixels "
            f"a side: use larger images, or a generator of another depth (model/generator)"
        )
    takes = signature(data["_target_"], "data")
    config: dict[str, Any] = OmegaConf.to_container(data, resolve=True)  # type: ignore[assignment]
    given = {key: value for key, value in config.items() if key not in DATA_KEYS or takes.has(key)}
    with errors_for_key("data"):
        module = instantiate(given, **{key: n for key, n in needs.items() if takes.has(key)}, _convert_="all")
    if isinstance(module, TrainingData):
        return module
    if not isinstance(module, LightningDataModule):
        raise ConfigError(
            f"data._target_={data['_target_']} makes a {type(module).__name__}: derive it from LightningDataModule"
        )
    size = config["image_size"]
    return LoaderData(module, (size, size) if isinstance(size, int) else tuple(size), data_channels(data))


def build_performance(perf: DictConfig) -> Performance:
    """The settings of the `perf` group."""
    with errors_for_key("perf"):
        performance: Performance = instantiate(perf)
    return performance


def build_loggers(cfg: DictConfig, wandb_id: str | None = None, fields: Sequence[int] = ()) -> list[Logger]:
    """All loggers of the configuration; `wandb_id` is that of the W&B run that is gone on with.

    What the configuration leaves open of a W&B run's group, type, name, tags and notes, follows from Hydra's choices,
    the configuration, and `fields`, the receptive fields of the discriminators in pixels.
    """
    loggers: list[Logger] = []
    for name, node in (cfg.get("logger") or {}).items():
        if node is not None:
            more: dict[str, Any] = {}
            if locate(node["_target_"], f"logger.{name}") is WandbRun:
                given = {key for key, value in node.items() if value is not None}
                config: Any = OmegaConf.to_container(cfg, resolve=True)
                found = {**identity(config, fields), "id": wandb_id}
                more = {key: value for key, value in found.items() if key not in given}
            with errors_for_key(f"logger.{name}"):
                loggers.append(instantiate(node, **more, _convert_="all"))
    return loggers


def warming_up_loggers(cfg: DictConfig) -> AbstractContextManager[None]:
    """A context during which W&B gets ready, if this process is going to log to it, beside what is done there."""
    nodes = [node for node in (cfg.get("logger") or {}).values() if node is not None]
    wanted = is_first() and any(locate(node["_target_"], "logger") is WandbRun for node in nodes)
    return warming_up() if wanted else nullcontext()


def build_callbacks(cfg: DictConfig) -> dict[str, Callback]:
    """All callbacks of the configuration, by name."""
    callbacks: dict[str, Callback] = {}
    for name, node in (cfg.get("callbacks") or {}).items():
        if node is not None:
            with errors_for_key(f"callbacks.{name}"):
                callbacks[name] = instantiate(node, _convert_="all")
    return callbacks


def build_strategy(trainer: DictConfig, job_config: Path) -> Any:
    """What `trainer.strategy` means; `job_config` is where the ranks of this run find its configuration."""
    name = trainer.strategy
    if name == "auto" and (trainer.devices != 1 or trainer.num_nodes != 1):
        name = "ddp"
    return PerNetworkDDP(DDP_STARTS[name], job_config) if isinstance(name, str) and name in DDP_STARTS else name


def build_trainer(cfg: DictConfig, callbacks: list[Callback], loggers: list[Logger] | bool) -> Trainer:
    """The trainer, for the devices and the lengths of the configuration."""
    shows_progress = any(isinstance(callback, ProgressBar) for callback in callbacks)
    keeps = any(isinstance(callback, Checkpoint) for callback in callbacks)
    plugins: list[Any] = [AtomicCheckpointIO()]
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        # The ranks are SLURM's, not of a torchrun within its job. Signals are answered by LastCheckpoint, between two
        # batches.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    with errors_for_key("trainer"):
        trainer: Trainer = instantiate(
            cfg.trainer, callbacks=callbacks, logger=loggers, enable_progress_bar=shows_progress,
            enable_checkpointing=keeps, plugins=plugins, _convert_="all",
            strategy=build_strategy(cfg.trainer, Path(cfg.paths.run_dir) / "config.yaml"),
        )  # fmt: skip
    return trainer
