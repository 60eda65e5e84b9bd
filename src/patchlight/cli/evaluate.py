"""`patchlight-eval`: the figures and samples of a trained model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from patchlight.cli.command import CommandConfig, run_command
from patchlight.config.compose import compose_config
from patchlight.config.validation.values import Built
from patchlight.errors import ConfigError, DataError
from patchlight.system.files import make_folder, write_json
from patchlight.system.job_record import search_folders
from patchlight.system.warnings import filter_warnings, import_lightning

if TYPE_CHECKING:
    from patchlight.data.contract import TrainingData


class EvalConfig(CommandConfig):
    """The keys of configs/eval.yaml."""

    examples = {
        "ckpt": "ckpt=PATH, such as RUN/checkpoints/best.ckpt",
        "output": "output=DIR, the folder for metrics.json and the samples",
    }
    takes_data = True

    ckpt: str
    root: str | None
    split: Literal["test", "val"]
    output: str
    weights: Literal["ema", "raw"]
    inference_mode: Literal["eval", "paper"] | None
    n_samples: int = Field(ge=0)
    lpips: bool | None
    feature: Literal["inception", "alexnet"] | None
    metrics: dict[str, Built] | None
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] | None
    num_workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] | None
    overwrite: bool
    trust: bool


def evaluate(config: EvalConfig) -> None:
    """Measure a checkpoint, write metrics.json and samples, and print the figures.

    Raises:
        UserError: the checkpoint, the images or the folder cannot be used.
    """
    # Here, so that --help does not wait for them.
    import_lightning()
    from lightning.pytorch import seed_everything
    from rich.console import Console
    from rich.table import Table

    from patchlight.build import build_callbacks
    from patchlight.callbacks.images import FirstImages
    from patchlight.checkpoint import EMA_KEY, read_checkpoint, recorded_config
    from patchlight.config.attribution import recorded_in
    from patchlight.config.validation import check_group, validate
    from patchlight.parallel.networks import resolve_precision
    from patchlight.runs.evaluation import Evaluation, method_and_data

    filter_warnings()
    if config.metrics:
        search_folders()
        check_group("callbacks", {"quality": {"_target_": QUALITY, "metrics": config.metrics}})
    checkpoint = read_checkpoint(config.ckpt)
    recorded = recorded_config(checkpoint, config.ckpt, trust=config.trust)
    with recorded_in(config.ckpt):
        cfg = _configuration(recorded, config)
        validate(cfg)
    output = Path(config.output).expanduser()
    if (output / "metrics.json").exists() and not config.overwrite:
        raise ConfigError(f"output={output} holds a metrics.json already: choose another folder, or overwrite=true")
    make_folder(output)
    resolve_precision(cfg.trainer)
    seed_everything(cfg.seed, verbose=False)
    method, data = method_and_data(cfg, checkpoint, config.ckpt, config.weights)
    root = _require_root(data, config)
    data.module.prepare_data()
    data.module.setup("test" if config.split == "test" else "validate")
    if not data.describe()["images"][config.split]["A"]:
        where = "the data of the training" if root is None else f"data={root}"
        raise ConfigError(f"split={config.split} has no images in {where}: choose another split or data=DIR")
    evaluation = Evaluation(cfg, method, data, build_callbacks(cfg))
    evaluation.prepare()
    samples = [FirstImages(output, config.n_samples)] if config.n_samples else []
    evaluation.measure("figures", config.split, samples)
    figures = evaluation.figures["figures"]
    averaged = config.weights == "ema" and bool(checkpoint.get(EMA_KEY))
    path = output / "metrics.json"
    try:
        step = checkpoint.get("global_step")
        record = {"figures": figures, "path": config.ckpt, "global_step": step}
        protocol = evaluation.protocol(averaged, config.split) | {"best_is": None}
        write_json(path, {"ckpt": record, "protocol": protocol})
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): make room or choose another output") from None
    console = Console(highlight=False, soft_wrap=True)
    table = Table(config.split, str(config.ckpt))
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    described = data.describe()
    console.print(f"images:  {root.resolve() if root is not None else described.get('root', described.get('source'))}")
    console.print(f"written: {path}" + (f", {output / 'samples.png'}" if samples else ""))


def _require_root(data: TrainingData, config: EvalConfig) -> Path | None:
    """The folder or file of the images, None where they come from elsewhere; nothing is ever rendered into it.

    Raises:
        DataError: it is not there.
    """
    from patchlight.data import ImageDataModule
    from patchlight.data.sources import Folders, Shards, StoredSet

    module = data.module
    if not isinstance(module, ImageDataModule) or not isinstance(module.source, StoredSet):
        return None
    root = module.source.root
    if isinstance(module.source, Shards) and module.source.location.is_remote:
        return None
    if os.path.isdir(root) if isinstance(module.source, Folders) else os.path.exists(root):
        return root
    if config.root is not None:
        raise DataError(f"data={root} is not a folder: give that of the image set by data=DIR")
    if root.is_absolute():
        raise DataError(f"data.root={root} of the training is not there: give the images by data=DIR")
    raise DataError(
        f"data.root={root} of the training is relative to the folder that it ran in, and is not in {Path.cwd()}: run "
        f"the command in that folder, or give the images by data=DIR"
    )


TRAINER_KEYS = ("precision", "accelerator", "deterministic", "benchmark")
"""What a test takes over of the training's trainer; the rest belongs to training, or names files and processes."""

OWN_DATA = "patchlight.data.ImageDataModule"

QUALITY_KEYS = ("lpips", "feature", "kernel_subsets", "kernel_subset_size", "metrics")
QUALITY = "patchlight.callbacks.Quality"


def _configuration(recorded: Mapping[str, Any], config: EvalConfig) -> DictConfig:
    """The configuration of the training on one device and without what belongs to a training only.

    The images are those of `data.source` or `data.root`. No other path of the file is used: nothing is rendered, and
    features are kept where this command's own configuration says.
    """
    # A checkpoint that was made of bare weights knows of its model and data only.
    base: dict[str, Any] = OmegaConf.to_container(compose_config("train", ["data.root=."]), resolve=False)  # type: ignore[assignment]
    model, data, trainer, perf, callbacks = (
        _section(recorded, name) for name in ("model", "data", "trainer", "perf", "callbacks")
    )
    own_data = data.get("_target_", OWN_DATA) == OWN_DATA
    if own_data:
        data = {**base["data"], "root": None, **data, "render": None, "augment": None}
    elif config.root is not None:
        raise ConfigError(f"data={config.root}: the training's images come from {data['_target_']}, so leave it out")
    if config.root is not None:
        data |= {"root": config.root, "source": _source(config.root, data.get("source"))}
    elif own_data:
        data["source"] = _without_paths(data.get("source"))
    if config.num_workers is not None:
        data["num_workers"] = config.num_workers
    if config.inference_mode is not None:
        model["inference_mode"] = config.inference_mode
    if config.accelerator is not None:
        trainer["accelerator"] = config.accelerator
    if own_data and data.get("root") is None and data.get("source") is None:
        raise ConfigError("data is not set and the checkpoint knows of no images: give data=DIR")
    own: dict[str, Any] = next(
        (node for node in callbacks.values() if isinstance(node, dict) and node.get("_target_") == QUALITY), {}
    )
    quality = base["callbacks"]["quality"] | {key: own[key] for key in QUALITY_KEYS if key in own}
    quality |= {key: getattr(config, key) for key in ("lpips", "feature") if getattr(config, key) is not None}
    quality["metrics"] = _section(quality, "metrics") | (config.metrics or {})
    alone = {"devices": 1, "num_nodes": 1, "strategy": "auto", "max_epochs": 1, "default_root_dir": config.output}
    return OmegaConf.create(
        {
            **base,
            "seed": recorded.get("seed", base["seed"]),
            "model": model,
            "data": data,
            "trainer": base["trainer"] | {key: trainer[key] for key in TRAINER_KEYS if key in trainer} | alone,
            "perf": base["perf"] | {key: perf[key] for key in ("channels_last",) if key in perf},
            "callbacks": {"quality": quality},
            "logger": None,
            "paths": base["paths"] | {"run_dir": config.output},
        }
    )


def _source(root: str, trained_on: object) -> dict[str, Any] | None:
    """What `data.source` is for the images at a path or an address, with the columns of the training's where that is
    of its kind."""
    from patchlight.data.sources import kind_of
    from patchlight.data.sources.shards.location import is_address

    kind = "shards" if is_address(root) else kind_of(Path(root).expanduser())
    if kind in (None, "folders"):
        return None
    composed = compose_config("train", ["data.root=.", f"data/source={kind}"])
    source: dict[str, Any] = OmegaConf.to_container(composed.data.source, resolve=False)  # type: ignore[assignment]
    own = trained_on if isinstance(trained_on, dict) and trained_on.get("_target_") == source["_target_"] else {}
    return {**source, **{key: own[key] for key in own.keys() & {"column_a", "column_b", "column_mask", "conditions"}}}


def _without_paths(source: Any) -> Any:
    """The training's `data.source` without the folder of fetched shards, which may be another machine's.

    Raises:
        ConfigError: it has an address, which is not asked for anything only because a file says so.
    """
    from patchlight.data.sources.shards.location import is_address

    if not isinstance(source, dict) or source.get("_target_") != "patchlight.data.sources.Shards":
        return source
    root = str(source.get("root"))
    if is_address(root):
        raise ConfigError(f"the training's images are at {root}: give data={root} to fetch them, or others")
    return {key: value for key, value in source.items() if key != "cache_dir"}


def _section(recorded: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy of a section of a configuration; one that is not there is empty."""
    section = recorded.get(name) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{name} should be a group of keys")
    return dict(section)


main = partial(run_command, "eval", EvalConfig, evaluate)
