from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from patchlight.config.command_line import check_command_line, read_command_line
from patchlight.config.compose import complete, compose_config, config_dir
from patchlight.config.validation import validate
from patchlight.errors import ConfigError
from patchlight.system.job_record import VARIABLE, begin_command


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.discriminator.n_layer=3", "model.discriminator.n_layer is no key .* did you mean n_layers.* ndf, norm"),
        ("model.discriminator.a.b=3", "model.discriminator.a is no key .* has n_layers, ndf, norm"),
        ("sed=3", "sed is no key .* did you mean seed. there are callbacks, data"),
        (
            "model=pix2pixx",
            "model=pix2pixx is no choice: did you mean pix2pix. there are cut, cyclegan, fast",
        ),
        ("model/generator=unet_12", "model/generator=unet_12 is no choice: did you mean unet_128"),
        ("experiment=nothing", "experiment=nothing is no choice: .*demo"),
        ("model.gan_mode=[1", "cannot be read: write key=value"),
        ("data=null", "data=null is no choice: the configuration cannot be composed: Config group override must be"),
    ],
)
def test_command_lines_that_do_not_compose(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_command_line([override], "train")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.gan_mode=foo", "model.gan_mode=foo should be 'lsgan', 'vanilla', 'wgangp', 'hinge' or 'nonsaturating'"),
        ("model.discriminator.norm=layer", "model.discriminator.norm=layer should be 'batch', 'instance', 'none'"),
        ("data.image_size=abc", "data.image_size=abc should be a valid integer or a list"),
        ("data.image_size=12.5", "data.image_size=12.5 should be a valid integer"),
        ("data.batch_size=true", "data.batch_size=True should be a valid integer"),
        ("data.direction=AtoC", "data.direction=AtoC should be 'AtoB' or 'BtoA'"),
        ("data=paired", "data.root is not set: give data.root=VALUE"),
        ("data.channels_a=0", "data.channels_a=0 should be greater than 0"),
        ("seed=x", "seed=x should be a valid integer"),
        ("evaluate_untrained=3", "evaluate_untrained=3 should be a valid boolean"),
        ("model.init.init_type=zeros", "model.init.init_type=zeros should be 'normal', 'xavier'"),
        ("+model.generator.depth=3", "model.generator.depth is no key .* num_downs"),
        ("+model.lamda_l1=3", "model.lamda_l1 is no key .* did you mean lambda_l1"),
        ("+extra=3", "extra is no key"),
        ("+trainer.max_epoch=3", "trainer.max_epoch is no key .* did you mean max_epochs"),
        ("model._target_=patchlight.methods.Foo", "model._target_=patchlight.methods.Foo cannot be imported"),
        ("callbacks.quality=3", "callbacks.quality=3 should be a group of keys"),
        ("~model.generator", "model.generator is missing: choose one with model/generator=NAME"),
        ("+data/augment=colour data.augment.colour_a.0.p=often", None),
    ],
)
def test_values_that_are_refused(override: str, message: str | None) -> None:
    cfg = compose_config("train", override.split(" "))
    if message is None:
        validate(cfg)  # arguments of albumentations are albumentations' own to check
        return
    with pytest.raises(ConfigError, match=message):
        validate(cfg)


def test_sweeps_are_checked_before_they_start() -> None:
    configs = check_command_line(["-m", "model.gan_mode=lsgan,hinge", "seed=1,2,3", "data.val_size=4"], "train")
    assert [(c.model.gan_mode, c.seed, c.data.val_size) for c in configs] == [
        ("lsgan", 1, 4), ("hinge", 1, 4), ("lsgan", 2, 4), ("lsgan", 3, 4),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="model=foo is no choice"):
        check_command_line(["-m", "model=pix2pix,foo"], "train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "-m model/discriminator=patch16,patch34 model.discriminator.n_layers=2",
            "model/discriminator=patch34 makes the same job as the values before it",
        ),
        ("-m seed=1,2,1", "seed=1 makes the same job as the values before it: the value is there twice"),
        ("-m model.lambda_l1=interval(1,2)", "is an interval, in which only sweep=optuna chooses values"),
        ("-m sweep=norm,seeds", "sweep takes one choice at a time"),
        ("sweep=nothing", "sweep=nothing is no choice: there are gan_mode, norm, optuna, patch_size, seeds"),
        ("sweep=gan_mode model.gan_mod=lsgan", "model.gan_mod is no key .* did you mean gan_mode"),
        ("-m seed=[1,2", "cannot be read: write key=value"),
    ],
)
def test_sweeps_that_cannot_be_meant(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        check_command_line(words.split(" "), "train")
    assert "\n" not in str(refused.value)


def test_a_sweep_is_multiplied_by_the_command_line() -> None:
    command = read_command_line(["sweep=patch_size", "seed=0,1"], "train")
    assert command is not None
    assert command.plan is not None
    assert command.plan.keys == ["model/discriminator", "seed"]
    assert [c.model.discriminator.get("n_layers") for c in command.configs] == [None, 1, 2, 3, 4, 5, None]
    assert [c.seed for c in command.configs] == [0, 0, 0, 0, 0, 0, 1]
    assert not command.searches
    single = read_command_line(["seed=3"], "train")
    assert single is not None
    assert (single.plan, len(single.configs)) == (None, 1)


def test_a_sweep_stands_between_experiment_and_debug(tmp_path: Path) -> None:
    for group, seed in (("experiment", 1), ("sweep", 2), ("debug", 3)):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(f"# @package _global_\nseed: {seed}\n")
    chosen = [f"--config-dir={tmp_path}", "experiment=mine", "sweep=mine"]
    assert check_command_line(chosen, "train")[0].seed == 2
    assert check_command_line([*chosen, "debug=mine"], "train")[0].seed == 3
    assert check_command_line([*chosen, "debug=mine", "seed=4"], "train")[0].seed == 4


@pytest.mark.parametrize("flag", ["--help", "--cfg=job", "--info", "--hydra-help"])
def test_questions_are_left_to_hydra(flag: str) -> None:
    assert check_command_line([flag], "train") == []


def test_own_config_folder(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 77\n")
    (cfg,) = check_command_line([f"--config-dir={tmp_path}", "experiment=mine"], "train")
    assert cfg.seed == 77


def test_a_folder_in_place_of_the_packages(tmp_path: Path) -> None:
    """What is checked is what Hydra composes, by its own flag."""
    shutil.copytree(config_dir(), tmp_path / "configs")
    (tmp_path / "configs/experiment/mine.yaml").write_text("# @package _global_\nseed: 78\n")
    (cfg,) = check_command_line([f"--config-path={tmp_path}/configs", "experiment=mine"], "train")
    assert cfg.seed == 78
    with pytest.raises(ConfigError, match="^experiment=mine is no choice"):
        check_command_line(["experiment=mine"], "train")
    with pytest.raises(ConfigError, match="config directory '/nowhere' exists"):
        check_command_line(["--config-path=/nowhere"], "train")


def test_complete_fills_in_the_length() -> None:
    overrides = ["model.schedule.n_epochs=3", "model.schedule.n_epochs_decay=4", "paths.run_dir=here"]
    cfg = compose_config("train", overrides)
    complete(cfg)
    assert cfg.trainer.max_epochs == 7
    cfg = compose_config("train", [*overrides, "trainer.max_epochs=2"])
    complete(cfg)
    assert cfg.trainer.max_epochs == 2


def test_complete_names_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="data.root is not set: give data.root=VALUE"):
        complete(compose_config("train", ["data=paired", "data.root=???", "paths.run_dir=here"]))
    with pytest.raises(ConfigError, match="cannot be resolved: .*nowhere"):
        complete(compose_config("train", ["task=${nowhere}", "paths.run_dir=here"]))


def test_order_of_experiment_debug_and_command_line() -> None:
    cfg = compose_config("train", ["experiment=demo", "debug=fast", "data.image_size=64"])
    assert cfg.task == "demo"
    assert cfg.trainer.max_steps == 2
    assert cfg.data.image_size == 64
    assert cfg.data.load_size == 143


def test_run_ids_never_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    ids = {begin_command().run_id for _ in range(200)}
    assert len(ids) == 200
    assert OmegaConf.create({"id": "${run_id:}"}).id in ids
    cfg: Any = OmegaConf.create({"a": "${run_id:}", "b": "${run_id:}"})
    assert cfg.a == cfg.b


def test_configs_are_beside_the_package() -> None:
    assert (config_dir() / "train.yaml").is_file()
