"""Every key of a training with values that it cannot have: refused by its name, or built without a fault of its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

from patchlight.build import build_method, build_performance, data_channels, try_optimizers
from patchlight.config.attribution import errors_for_key
from patchlight.config.compose import complete, compose_config, config_dir
from patchlight.config.validation import check_group, validate
from patchlight.errors import ConfigError, UserError

ODD: dict[str, Any] = {
    "negative": -3, "zero": 0, "fraction": 0.37, "huge": 10**40, "inf": math.inf, "nan": math.nan, "word": "often",
    "empty": "", "list": [1, 2, 3], "group": {"a": 1}, "null": None, "true": True,
}  # fmt: skip

TINY = (
    "model.generator.ngf=1", "model.discriminator.ndf=1", "model.discriminator.n_layers=1", "paths.run_dir=run",
    "paths.data_dir=data", "callbacks.quality.feature_cache=null", "trainer.accelerator=cpu",
)  # fmt: skip

CONFIGURATIONS = {
    "pix2pix": (*TINY, "model/generator=unet_128", "model.generator.num_downs=2", "callbacks=ema", "model/penalty=r1",
                "model.discriminator.norm=none", "model/schedule=plateau", "logger=tensorboard"),
    "cyclegan": (*TINY, "model=cyclegan", "model.generator.n_blocks=1", "data=synthetic_unpaired", "logger=wandb",
                 "callbacks=early_stopping", "model/penalty=wgan_gp", "model/schedule=step", "model/optimizer_d=sgd"),
    "rmsprop": (*TINY, "model/generator=unet_128", "model.generator.num_downs=2", "model/optimizer=rmsprop",
                "model/optimizer_d=adagrad", "model/penalty=r2", "model/schedule=cosine", "model/adversarial=lsgan",
                "model.discriminator.norm=none"),
}  # fmt: skip


def leaves(node: Any, path: str = "") -> Iterator[str]:
    """All keys, those of groups included."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        if not str(key).startswith("_"):
            yield f"{path}{key}"


@cache  # composing takes half a second
def content(name: str) -> Any:
    """A configuration in plain values."""
    return OmegaConf.to_container(compose_config("train", CONFIGURATIONS[name]), resolve=True)


@cache
def new_keys(name: str) -> list[str]:
    """The keys that no configuration before this one has."""
    names = list(CONFIGURATIONS)
    before = {key for other in names[: names.index(name)] for key in leaves(content(other))}
    return [key for key in leaves(content(name)) if key not in before and not key.startswith("model.penalties.")]


def changed(config: Any, key: str, value: Any) -> Any:
    """A copy in which a key has another value."""
    config = copy.deepcopy(config)
    group, _, leaf = key.rpartition(".")
    lookup(config, group)[leaf] = value
    return config


def lookup(config: Any, key: str) -> Any:
    return reduce(getitem, key.split("."), config) if key else config


def result(config: Any, key: str) -> str:
    """`refused`, `built`, or what went wrong."""
    group = key.partition(".")[0]
    try:
        if group == key:
            validate(OmegaConf.create(config))
        else:
            check_group(group, config[group])
    except ConfigError as error:
        about = key.rpartition(".")[0] or key
        return "refused" if "\n" not in str(error) and about in str(error) else f"refused as {error}"
    try:
        build(config, key)
    except UserError as error:
        return f"late: {error}"
    return "built"


def build(config: Any, key: str) -> None:
    """Build what a key belongs to, as a training would before it reads images."""
    group, _, rest = key.partition(".")
    cfg: Any = OmegaConf.create({name: config[name] for name in {group, "data", "model", "trainer"}})
    match group:
        case "model":
            complete(cfg)
            try_optimizers(build_method(cfg.model, data_channels(cfg.data)))
        case "data":
            with errors_for_key("data"):
                instantiate(cfg.data, size_multiple=4, min_size=4, _convert_="all")
        case "perf":
            build_performance(cfg.perf)
        case "callbacks" | "logger" if rest:
            name = rest.partition(".")[0]
            if cfg[group][name] is not None:
                with errors_for_key(f"{group}.{name}"):
                    instantiate(cfg[group][name], _convert_="all")


NEVER = ("huge", "inf", "nan", "list", "group")
NO_NUMBER = ("word", "empty", "true")

ZERO = {
    "seed", "data.num_workers", "data.cache", "data.val_size", "data.seed", "data.render.n_test", "data.render.seed",
    "model.optimizer.lr", "model.optimizer_d.lr", "model.optimizer_d.momentum", "model.optimizer.alpha",
    "model.schedule.n_epochs", "model.schedule.n_epochs_decay", "model.schedule.threshold", "model.schedule.patience",
    "model.real_label", "model.fake_label", "model.adversarial.real_label", "model.adversarial.fake_label",
    "model.lambda_l1", "model.lambda_a", "model.lambda_b",
    "model.lambda_identity", "model.discriminator_start", "model.generator.n_blocks", "model.pool_size",
    "model.pool_seed", "trainer.limit_val_batches", "trainer.limit_test_batches", "trainer.overfit_batches",
    "trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "callbacks.progress.refresh_rate",
    "callbacks.early_stopping.patience", "callbacks.early_stopping.min_delta",
}  # fmt: skip
"""Of 0 a value."""

NEGATIVE = {key for key in ZERO if key.endswith("_label")}

LISTS = ("trainer.devices", "data.bands_a", "data.bands_b", "data.display_a", "data.display_b")
"""Of which [1, 2, 3] is a value."""

LATE = {
    ("model.schedule", "null"): "late: trainer.max_epochs=null takes the length of model.schedule, which is null",
    ("data.colorization", "true"): "late: data.colorization=true goes from lightness to colour: leave data.direction",
}
"""What is a value, but not together with the others."""


# Some seconds: two thousand values, and what a tenth of them builds.
@pytest.mark.untraced  # 1,900 tries of the same lines
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_odd_values(name: str, alexnet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config, faults = content(name), []
    for key in new_keys(name):
        usual = lookup(config, key)
        number = isinstance(usual, int | float) and not isinstance(usual, bool)
        kinds = ODD if not isinstance(usual, dict) else ("negative", "word", "list", "group", "null")
        for kind in kinds:
            value = ODD[kind]
            found = result(changed(config, key, value), key)
            allowed = kind not in NEVER and not (number and kind in NO_NUMBER)
            allowed |= (key in LISTS and kind == "list") or (key, kind) == ("extras", "group")
            allowed &= kind != "zero" or key in ZERO
            allowed &= kind != "negative" or key in NEGATIVE
            fits = found == "refused" or (found == "built" and allowed)
            if not fits and not found.startswith(LATE.get((key, kind), "none")):
                faults.append(f"{key}={value}: {found}")
            if kind == "zero" and key in ZERO and found != "built":
                faults.append(f"{key}={value}: {found}, though it can be meant")
    assert faults == []


BESIDE: dict[tuple[str, str], tuple[Any, str]] = {
    ("pix2pix", "model.optimizer.eps"): (-1e-8, "=-1e-08 should be at least 0"),
    ("pix2pix", "model.optimizer.weight_decay"): (math.inf, "=inf should be a finite number"),
    ("pix2pix", "model.optimizer.betas"): ([0.5, 1.0], "=.* should be less than 1 at place 1"),
    ("cyclegan", "model.optimizer.betas"): ([0.5], "=.* should be a list of"),
    ("cyclegan", "model.optimizer_d.momentum"): (-1, "=-1 should be at least 0"),
    ("rmsprop", "model.optimizer.alpha"): ("high", "=high should be a valid number"),
    ("pix2pix", "data.image_size"): ([64, 64, 64], "=.* should be a valid integer or a list of at most 2"),
    ("cyclegan", "data.image_size"): ([64, 0], "=.* should be a valid integer or greater than 0 at place 1"),
    ("pix2pix", "data.load_size"): (-286, "=-286 should be greater than 0 or "),
    ("pix2pix", "seed"): (2**32, "=4294967296 should be less than 4294967296"),
    ("cyclegan", "seed"): (1.5, "=1.5 should be a valid integer"),
    ("pix2pix", "data.num_workers"): (100_000, "=100000 should be at most 1024 or 'auto'"),
    ("pix2pix", "trainer.devices"): ([], "=.* a list of at least 1"),
    ("pix2pix", "trainer.limit_train_batches"): (1.5, "=1.5 should be a valid integer or at most 1"),
    ("pix2pix", "trainer.val_check_interval"): (0, "=0 should be greater than 0"),
    ("pix2pix", "model.penalties.r1.gamma"): (-1, "=-1 should be greater than 0"),
    ("pix2pix", "model.penalties.mine"): (3, "=3 should be a group of keys with a _target_"),
    ("pix2pix", "data.batch_size"): ("${nowhere}", " cannot be resolved: Interpolation key 'nowhere' not found"),
    ("cyclegan", "data.batch_size"): ("${model.gan_mode}", "=lsgan should be a valid integer"),
    ("rmsprop", "data.batch_size"): ("???", " is not set: give data.batch_size=VALUE"),
    ("pix2pix", "data"): (None, "=null should be a group of keys: choose one with data=NAME"),
    ("pix2pix", "model._target_"): ("patchlight.networks.UNetGenerator", "=.* is no method: derive it from "),
}  # fmt: skip
"""Arguments that no file gives, values whose parts are numbers, interpolations, and numbers just out of bounds."""


@pytest.mark.parametrize(("name", "key"), BESIDE)
def test_values_beside_the_table(name: str, key: str) -> None:
    value, message = BESIDE[name, key]
    with pytest.raises(ConfigError, match=f"^{key}{message}") as refused:
        validate(OmegaConf.create(changed(content(name), key, value)))
    assert "\n" not in str(refused.value)


def test_what_waits_for_the_folder_of_a_run_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    validate(compose_config("train", []))
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        cfg = compose("train", return_hydra_config=True)
    # As a notebook does that looks at what Hydra knows.
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
    validate(compose_config("train", []))


def test_a_schedule_without_an_epoch() -> None:
    config = changed(content("pix2pix"), "model.schedule.n_epochs", 0)
    check_group("model", config["model"])
    with pytest.raises(ConfigError, match="n_epochs=0 and model.schedule.n_epochs_decay=0 leave no epoch to train"):
        check_group("model", changed(config, "model.schedule.n_epochs_decay", 0)["model"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model.optimizer.betas=[0,0.9]", "model.optimizer.betas must be either both floats"),
        ("model/optimizer=sgd +model.optimizer.nesterov=true model.optimizer.momentum=0", "Nesterov momentum requires"),
        ("model/schedule=cosine model.schedule.n_epochs=0", "model.schedule.n_epochs must be at least 1 for a cosine"),
    ],
)
def test_what_only_the_optimizer_knows(words: str, message: str) -> None:
    cfg = compose_config("train", [*CONFIGURATIONS["cyclegan"], "model/schedule=linear", *words.split(" ")])
    validate(cfg)
    with pytest.raises(ConfigError, match=message):
        try_optimizers(build_method(cfg.model, data_channels(cfg.data)))
