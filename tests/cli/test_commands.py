"""The keys of every command beside training, with values that they cannot have."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from patchlight.__main__ import VERBS
from patchlight.cli import bench, demo, doctor, evaluate, export, import_weights, report, shard, translate, workspace
from patchlight.cli.command import CommandConfig, typed
from patchlight.config.command_line import check_command_line
from patchlight.config.compose import compose_config, config_dir
from patchlight.errors import ConfigError

MODELS: dict[str, type[CommandConfig]] = {
    "bench": bench.BenchConfig,
    "demo": demo.DemoConfig,
    "doctor": doctor.DoctorConfig,
    "eval": evaluate.EvalConfig,
    "export": export.ExportConfig,
    "import": import_weights.ImportConfig,
    "report": report.ReportConfig,
    "shard": shard.ShardConfig,
    "translate": translate.TranslateConfig,
    "workspace": workspace.WorkspaceConfig,
}

HELP = {
    "train": ("patchlight-train: train an image-to-image model", "patchlight-train experiment=demo"),
    "doctor": ("look through an image set before it is trained on", "near_distance: 12"),
    "report": ("patchlight-report: one page, tables and plots", "weights: last"),
    "translate": ("translate images of any size with a trained model", "weights: ema"),
}
"""What stands in the help of a command."""

HEAVY = ("torch", "lightning", "torchvision", "torchmetrics", "wandb", "cv2", "pandas", "matplotlib", "jinja2",
         "imagehash", "albumentations")  # fmt: skip

SHOW_HELP = """
import sys
from importlib import import_module
heavy, *modules = sys.argv[1:]
for module in modules:
    sys.argv[:] = [f"patchlight-{module}", "--help"]
    try:
        import_module(f"patchlight.cli.{module}").main()
    except SystemExit as end:
        assert not end.code
    print("imported", module, *sorted(set(heavy.split(",")) & set(sys.modules)), flush=True)
"""


def test_help_needs_nothing_heavy(tmp_path: Path) -> None:
    """Of all commands, in one process."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP, ",".join(HEAVY), *VERBS.values()], capture_output=True, text=True,
        timeout=600, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())
    rest = done.stdout
    for verb, module in VERBS.items():
        said, separator, rest = rest.partition(f"imported {module}\n")
        assert separator, f"{verb} --help: {rest[-100:]}"
        for words in HELP.get(verb, ("usage:" if verb == "download" else f"patchlight-{verb}",)):
            assert words in said
        if verb == "train":
            choices = sorted(path.stem for path in (config_dir() / "model/discriminator").glob("*.yaml"))
            assert {"patch70", "pixel"} < set(choices)
            assert f"model/discriminator: {', '.join(choices)}\n" in said


WORD, NULL = ["often"], [None]
ACCEPTED: dict[str, list[Any]] = {
    "bench.steps": NULL, "bench.root": ["often", None], "bench.output": WORD,
    "demo.ckpt": WORD, "demo.host": WORD, "demo.port": NULL, "demo.palette": NULL, "demo.open_browser": [True],
    "demo.trust": [True], "eval.trust": [True], "export.trust": [True], "translate.trust": [True],
    "doctor.root": WORD, "doctor.labels": NULL, "doctor.output": ["often", None], "doctor.fix": ["often", None],
    "doctor.depth_a": NULL, "doctor.depth_b": NULL, "doctor.range_a": NULL, "doctor.range_b": NULL,
    "doctor.clipped_share": [0, 0.37], "doctor.blank_std": [0, 0.37], "doctor.low_std": [0, 0.37],
    "doctor.near_distance": [0],
    "doctor.near_difference": [0, 0.37], "doctor.drift_levels": [0], "doctor.drift_share": [0, 0.37],
    "eval.ckpt": WORD, "eval.root": ["often", None], "eval.output": WORD, "eval.inference_mode": NULL,
    "eval.n_samples": [0], "eval.lpips": [None, True], "eval.feature": NULL, "eval.metrics": NULL,
    "eval.accelerator": NULL, "eval.num_workers": [0, None], "eval.overwrite": [True],
    "export.ckpt": WORD, "export.output": WORD, "export.format": NULL, "export.direction": NULL,
    "export.inference_mode": NULL, "export.license": ["often", None], "export.speed": [True],
    "export.samples": [True], "export.overwrite": [True],
    "import.input": WORD, "import.output": WORD, "import.epoch": [-3, 0, "often"], "import.method": NULL,
    "import.gan_mode": NULL, "import.dropout": [None, True], "import.padding": NULL,
    "import.n_classes": NULL, "import.instances": [True],
    "import.overwrite": [True],
    "report.runs": WORD, "report.output": ["often", None], "report.title": ["often", None], "report.axis": NULL,
    "shard.root": WORD, "shard.output": WORD, "shard.shard_mb": [0.37], "shard.shuffle": [True],
    "shard.val_size": [0], "shard.seed": [0],
    "translate.ckpt": WORD, "translate.input": WORD, "translate.output": WORD, "translate.direction": NULL,
    "translate.inference_mode": NULL, "translate.format": NULL, "translate.overwrite": [True],
    "translate.condition": [{"a": 1}], "translate.batch_size": NULL, "translate.compile": [True],
    "translate.tile": NULL, "translate.patchmap": [True], "translate.instances": ["often", None],
    "workspace.runs": WORD, "workspace.project": ["often", None], "workspace.entity": ["often", None],
    "workspace.name": ["often", None], "workspace.metric": ["often", None],
}  # fmt: skip
"""What is a value of a key all the same."""

ODD: list[Any] = [-3, 0, 0.37, 10**40, math.inf, math.nan, "often", "", [1, 2, 3], {"a": 1}, None, True]


@cache
def _composed(name: str) -> Any:
    cfg = compose_config(name)
    for key in MODELS[name].examples:
        cfg[key] = "something"
    return cfg


def complete_command(name: str) -> Any:
    return copy.deepcopy(_composed(name))


@pytest.mark.parametrize("name", MODELS)
def test_odd_values(name: str) -> None:
    model = MODELS[name]
    cfg = complete_command(name)
    typed(cfg, model)
    for key in model.model_fields:
        usual, accepted, said = cfg[key], [], list[str]()
        for value in ODD:
            cfg[key] = value
            try:
                typed(cfg, model)
                accepted.append(value)
            except ConfigError as error:
                said.append(str(error))
        cfg[key] = usual
        assert all(message.startswith(f"{key}=") and " should be " in message for message in said)
        assert "\n" not in "".join(said)
        assert accepted == ACCEPTED.get(f"{name}.{key}", [])


@pytest.mark.parametrize("name", MODELS)
def test_missing_and_unknown_keys(name: str) -> None:
    model = MODELS[name]
    for key in model.examples:
        cfg = complete_command(name)
        cfg[key] = "???"
        with pytest.raises(ConfigError, match=f"^{key} is not set: give "):
            typed(cfg, model)
        cfg[key] = "${nowhere}"
        with pytest.raises(ConfigError, match="^the configuration cannot be resolved: .*'nowhere' not found"):
            typed(cfg, model)
    with pytest.raises(ConfigError, match="^outputt is no key of the configuration: "):
        check_command_line(["outputt=x"], name)
    extra = OmegaConf.merge(OmegaConf.create({"outputt": 1}), complete_command(name))
    with pytest.raises(ConfigError, match="^outputt is no key of the configuration: "):
        typed(extra, model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("device=[1", "'device=\\[1' cannot be read: write key=value"),
        ("device='x", '"device=\'x" cannot be read: write key=value'),
        ("device={a", "cannot be read: write key=value"),
        ("device", "'device' cannot be read: write key=value"),
        ("=x", "cannot be read: write key=value"),
        ("device=x)", "cannot be read: write key=value"),
    ],
)
def test_brackets_and_quotes(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        check_command_line([word], "translate")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("module", ["train", "evaluate", "import_weights"])
def test_hydra_calls_a_job_as_the_module_of_its_command(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The frame in which Hydra is started is in none of its names."""
    monkeypatch.setattr(sys, "argv", ["patchlight", "--cfg", "hydra", "-p", "hydra.job.name"])
    import_module(f"patchlight.cli.{module}").main()
    assert capsys.readouterr().out.strip() == module
