"""Every YAML file composes, and every `_target_` in it takes the arguments that the file gives."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from patchlight.config.command_line import read_command_line
from patchlight.config.compose import compose_config, config_dir
from patchlight.config.validation import HYDRA_KEYS, locate, validate
from patchlight.errors import ConfigError
from patchlight.interop.settings import Method

pytestmark = pytest.mark.untraced  # Hydra's own code, mostly, which takes twice as long when every line is watched

GROUPED = sorted(
    path
    for path in config_dir().rglob("*.yaml")
    if path.parent not in (config_dir(), config_dir() / "wandb")
    and not any(part.startswith("_") for part in path.relative_to(config_dir()).parts)
)


def choice(path: Path) -> str:
    """The override that chooses a file."""
    group, name = path.parent.relative_to(config_dir()).as_posix(), path.stem
    plus = "+" if group == "data/augment" else ""
    return f"{plus}{group}={name}"


def test_all_groups_are_there() -> None:
    assert {p.parent.relative_to(config_dir()).parts[0] for p in GROUPED} == {
        "callbacks", "data", "debug", "experiment", "hydra", "launcher", "logger", "model", "paths", "perf", "recipe",
        "sweep", "trainer",
    }  # fmt: skip


@pytest.mark.parametrize("path", GROUPED, ids=lambda p: p.relative_to(config_dir()).as_posix())
def test_composes_and_binds(path: Path) -> None:
    overrides = [choice(path)]
    if path.parent.name == "sampler":
        overrides.insert(0, "model=cut" if path.parent.parent.name == "model" else "sweep=optuna")
    extra = missing_extra(path)
    if extra is not None:
        with pytest.raises(ConfigError, match=rf"is not installed: pip install 'patchlight\[{extra}\]'"):
            compose_config("train", overrides)
        return
    if path.parent.name == "data" and path.stem in ("paired", "unpaired", "colorization"):
        overrides.append("data.root=somewhere")
    if path.stem == "single":
        overrides += ["data.source.a=a.png", "data.source.b=b.png"]
    cfg = compose_config("train", overrides)
    validate(cfg)
    bound = [bind(node) for node in targets(OmegaConf.to_container(cfg, resolve=False))]
    assert len(bound) >= 10


def missing_extra(path: Path) -> str | None:
    """The extra of this package that a file needs, if its plugin of Hydra is not installed."""
    kind, extra = {"launcher": ("launcher", path.stem), "sampler": ("sweeper", "optuna")}.get(
        path.parent.name if path.parent.parent.name != "model" else "", ("", "")
    )
    if path.parent.name == "sweep" and path.stem == "optuna":
        kind, extra = "sweeper", "optuna"
    plugin = "hydra_plugins.hydra_submitit_launcher" if extra == "slurm" else f"hydra_plugins.hydra_{extra}_{kind}"
    return extra if extra and importlib.util.find_spec(plugin) is None else None


SWEEPS = sorted(path.stem for path in (config_dir() / "sweep").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize(
    # Composing all of them takes longer than all else in this file.
    "experiment",
    [pytest.param(name, marks=() if name == "demo" else pytest.mark.slow) for name in EXPERIMENTS],
)
def test_every_job_of_every_sweep_of_every_experiment_composes(sweep: str, experiment: str) -> None:
    if missing_extra(config_dir() / "sweep" / f"{sweep}.yaml") is not None:
        pytest.skip("its plugin is not installed")
    command = read_command_line([f"experiment={experiment}", f"sweep={sweep}"], "train")
    assert command is not None
    assert command.plan is not None
    assert command.hydra.mode == RunMode.MULTIRUN
    assert len(command.configs) >= 3
    for cfg in command.configs:
        validate(cfg)
        assert cfg.task == experiment
        assert cfg.resume == "auto"


def test_norms_of_discriminators() -> None:
    """A built-in discriminator has the norm of the method's paper; one of another kind gets no key from the method."""
    for model, norm in (("pix2pix", "batch"), ("cyclegan", "instance"), ("pix2pixhd", "instance"), ("cut", "instance"),
                        ("fastcut", "instance")):  # fmt: skip
        for path in sorted((config_dir() / "model/discriminator").glob("*.yaml")):
            cfg = compose_config("train", [f"model={model}", f"model/discriminator={path.stem}"])
            own = cfg.model.discriminator
            for discriminator in own.discriminators.values() if "discriminators" in own else [own]:
                assert discriminator.norm == norm, path
                if path.stem.startswith("patch"):
                    assert discriminator.get("antialias", False) == model.endswith("cut"), path
    given = compose_config("train", ["model=cyclegan", "model.discriminator.norm=none"])
    assert given.model.discriminator.norm == "none"
    assert "discriminator" not in OmegaConf.load(config_dir() / "model/cyclegan.yaml")


def targets(node: Any) -> list[dict[str, Any]]:
    """All nodes with a `_target_`, at any depth."""
    if isinstance(node, dict):
        own = [node] if "_target_" in node else []
        return own + [found for value in node.values() for found in targets(value)]
    if isinstance(node, list):
        return [found for value in node for found in targets(value)]
    return []


FROM_CODE: dict[str, tuple[str, ...]] = {
    "patchlight.networks.UNetGenerator": ("in_channels", "out_channels"),
    "patchlight.networks.ResNetGenerator": ("in_channels", "out_channels"),
    "patchlight.networks.GlobalGenerator": ("in_channels", "out_channels"),
    "patchlight.networks.LocalEnhancer": ("in_channels", "out_channels"),
    "patchlight.networks.QuarterResNetGenerator": ("in_channels", "out_channels"),
    "patchlight.networks.PatchDiscriminator": ("in_channels",),
    "patchlight.networks.MultiscaleDiscriminator": ("in_channels",),
    "patchlight.networks.PixelDiscriminator": ("in_channels",),
    "patchlight.networks.PatchSampleMLP": ("in_channels",),
    "patchlight.methods.Pix2Pix": ("generator", "discriminator"),
    "patchlight.methods.CUT": ("generator", "discriminator", "sampler"),
    "patchlight.methods.Pix2PixHD": ("generator", "discriminator"),
    "patchlight.methods.CycleGAN": ("generator_ab", "generator_ba", "discriminator_a", "discriminator_b"),
}
"""Arguments that the program gives: the data and the networks decide them."""


def bind(node: dict[str, Any]) -> inspect.BoundArguments:
    """Bind a node to the signature of its target; raises a TypeError where it does not fit."""
    target = node["_target_"]
    not_arguments = HYDRA_KEYS | (
        {"generator", "discriminator", "sampler", "init"} if target.startswith("patchlight.meth") else set()
    )
    arguments = {key: value for key, value in node.items() if key not in not_arguments}
    arguments |= dict.fromkeys(FROM_CODE.get(target, ()))
    if node.get("_partial_"):
        return inspect.signature(locate(target, "test")).bind_partial(**arguments)
    return inspect.signature(locate(target, "test")).bind(**arguments)


def test_bind_notices_what_does_not_fit() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        bind({"_target_": "patchlight.networks.UNetGenerator", "depth": 3})


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])
def test_paper_settings(model: str) -> None:
    """Isola et al. 2017 and Zhu et al. 2017."""
    cfg = compose_config("train", [f"model={model}"])
    assert (cfg.data.load_size, cfg.data.image_size, cfg.data.batch_size, cfg.data.flip) == (286, 256, 1, True)
    assert (cfg.model.optimizer.lr, list(cfg.model.optimizer.betas)) == (2e-4, [0.5, 0.999])
    assert (cfg.model.schedule.n_epochs, cfg.model.schedule.n_epochs_decay) == (100, 100)
    assert (cfg.model.init.init_type, cfg.model.init.gain) == ("normal", 0.02)
    assert cfg.model.discriminator == networks_of(model)["discriminator"]
    assert cfg.model.generator == networks_of(model)["generator"]
    expected: dict[str, Any] = {"pix2pix": {"gan_mode": "vanilla", "lambda_l1": 100.0}, "cyclegan": {
        "gan_mode": "lsgan", "lambda_a": 10.0, "lambda_b": 10.0, "lambda_identity": 0.5, "pool_size": 50,
    }}[model]  # fmt: skip
    assert {key: cfg.model[key] for key in expected} == expected


def networks_of(model: str) -> dict[str, DictConfig | dict[str, Any]]:
    norm = "batch" if model == "pix2pix" else "instance"
    discriminator = {"_target_": "patchlight.networks.PatchDiscriminator", "ndf": 64, "n_layers": 3, "norm": norm}
    discriminator |= {"spectral_norm": False}
    options = {"upsample": "transposed", "attention": False}
    if model == "pix2pix":
        unet = {"num_downs": 8, "ngf": 64, "norm": norm, "dropout": True, **options}
        return {"generator": {"_target_": "patchlight.networks.UNetGenerator", **unet}, "discriminator": discriminator}
    resnet = {"n_blocks": 9, "ngf": 64, "norm": norm, "dropout": False, "padding": "reflect", "antialias": "none"}
    resnet |= {"block": "residual", **options}
    return {"generator": {"_target_": "patchlight.networks.ResNetGenerator", **resnet}, "discriminator": discriminator}


def test_paper_settings_of_cut() -> None:
    """Park et al. 2020, section 4.1 and appendix C.1; the schedules are those of its code."""
    cut, fast = (compose_config("train", [f"model={model}"]).model for model in ("cut", "fastcut"))
    assert cut.generator.antialias == "both"
    assert (cut.init.init_type, cut.init.gain) == ("xavier", 0.02)
    assert cut.sampler == {"_target_": "patchlight.networks.PatchSampleMLP", "nc": 256}
    assert (cut.optimizer.lr, list(cut.optimizer.betas)) == (2e-4, [0.5, 0.999])
    own = ("gan_mode", "lambda_gan", "lambda_nce", "nce_identity", "num_patches", "temperature", "flip_equivariance")
    assert [cut[key] for key in own] == ["lsgan", 1.0, 1.0, True, 256, 0.07, False]
    assert [fast[key] for key in own] == ["lsgan", 1.0, 10.0, False, 256, 0.07, True]
    assert [(m.schedule.n_epochs, m.schedule.n_epochs_decay) for m in (cut, fast)] == [(200, 200), (150, 50)]
    assert fast.generator == cut.generator
    assert fast.discriminator == cut.discriminator


STUDIES = Path(__file__).resolve().parents[2] / "benchmarks" / "studies"


def studied() -> list[str]:
    """The experiments that the sweeps of the studies name, or that are named after one."""
    found = []
    for path in sorted((STUDIES / "sweep").glob("*.yaml")):
        params = OmegaConf.load(path).hydra.sweeper.params
        found += str(params.get("experiment", path.stem)).split(",")
    return found


def test_every_study_is_swept() -> None:
    files = (STUDIES / "experiment").rglob("[!_]*.yaml")
    assert sorted(studied()) == sorted(
        path.relative_to(STUDIES / "experiment").with_suffix("").as_posix() for path in files
    )


@pytest.mark.parametrize("experiment", studied())
def test_studies_compose(experiment: str) -> None:
    cfg = compose_config("train", [f"hydra.searchpath=[file://{STUDIES}]", f"experiment={experiment}", "data.root=x"])
    validate(cfg)
    assert cfg.task == experiment.partition("/")[0]
    assert cfg.callbacks.quality.feature == "alexnet"
    assert cfg.data.num_workers == 0, "processor seconds are those of one process"


@pytest.mark.parametrize(
    ("file", "key", "choices"),
    [
        ("data/_common.yaml", "source", [path.stem for path in (config_dir() / "data/source").glob("*.yaml")]),
        ("import.yaml", "method", get_args(Method)),
        ("eval.yaml", "root", ["archive", "manifest", "table", "shards"]),
        ("doctor.yaml", "root", ["archive", "manifest", "table", "shards"]),
        ("translate.yaml", "input", ["zip", "tar", "manifest", "table", "shards"]),
    ],
)
def test_comments_name_all_choices(file: str, key: str, choices: Sequence[str]) -> None:
    lines = (config_dir() / file).read_text(encoding="utf-8").splitlines()
    comment = next(line for line in lines if line.lstrip(" -").startswith(f"{key}: ")).partition(" # ")[2]
    assert [name for name in choices if name not in re.findall(r"\w+", comment)] == []


def test_comments_lead_to_documents_that_are_there() -> None:
    for path in config_dir().rglob("*.yaml"):
        for name in re.findall(r"#.* see (the README|docs/[\w/.]+\.md)", path.read_text(encoding="utf-8")):
            assert (config_dir().parent / name).is_file(), f"{path}: {name}"
