"""Hostile checkpoints given to the commands: nothing of them runs, and one message says why."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import patchlight
from commands import Typed
from patchlight.build import build_method, data_channels
from patchlight.errors import DataError
from patchlight.runs.resume import load_initial_weights

Put = Callable[..., dict[str, Any]]
Save = Callable[..., Path]

COMMANDS = {
    "translate": ("translate", ["input=in.png", "output=out", "device=cpu"]),
    "translate with patch maps": ("translate", ["input=in.png", "output=out", "device=cpu", "patchmap=true"]),
    "eval": ("evaluate", ["data=set", "output=out", "accelerator=cpu"]),
    "export .pt2": ("export", ["output=out.pt2", "speed=false"]),
    "export for the reference": ("export", ["output=out", "format=reference"]),
    "export for a hub": ("export", ["output=out", "format=hub"]),
    "demo": ("demo", ["device=cpu"]),
}
"""Each with what it needs beside a checkpoint."""

HOSTILE: dict[str, Any] = {
    # Each tries to make the file `made`, or reads a secret.
    "model._target_": "evil.Pix2Pix",
    "model.generator": {"_target_": "numpy.savetxt", "fname": "made", "X": [1]},
    "model.generator.norm": {"_target_": "torch.utils.collect_env.run", "command": "touch made"},
    "model.discriminator.norm": [{"_target_": "evil.run"}],
    "model.schedule": {"_target_": "pathlib.Path.touch", "self": "made", "_partial_": True},
    "model.penalties.r1": {"_target_": "torch.distributed.run.main", "args": ["made"]},
    "model.real_label": {"_target_": "sympy.sympify", "a": "open('made', 'w')"},
    "data.augment": [{"_target_": "urllib.request.urlretrieve", "url": "file:///etc/hostname", "filename": "made"}],
    "data.render": {"_target_": "torch.fx.graph_module._exec_with_source", "src": "open('made', 'w')", "globals": {}},
    "callbacks.quality.feature": {"_target_": "evil.run", "_partial_": True},
    "callbacks.quality.feature_cache": "${oc.env:SECRET}",
    "logger.wandb": {"_target_": "os.mkdir", "path": "made"},
    "trainer.plugins": [{"_target_": "distutils.spawn.spawn", "cmd": ["touch", "made"]}],
    "paths.run_dir": {"_target_": "patchlight.runs.records.subprocess.run", "args": ["touch", "made"]},
}


EVIL = """
open("made", "w")

def run(*args, **kwargs):
    open("made", "w")

Pix2Pix = run
"""


@pytest.fixture
def typed(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Runs a command in a folder with an image, a set and a module that says if it is imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SECRET", "the-secret")
    Path("evil.py").write_text(EVIL, encoding="utf-8")
    Image.new("RGB", (64, 64), "gray").save("in.png")
    Path("set/test").mkdir(parents=True)
    Image.new("RGB", (128, 64), (40, 90, 120)).save("set/test/0.png")
    return typed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_a_hostile_checkpoint(typed: Typed, save: Save, put: Put, command: str) -> None:
    module, arguments = COMMANDS[command]
    present = sorted(Path().iterdir())
    # Starting a command takes a third of a second, so that each gets its share of them; below `load` gets all.
    for key, value in list(HOSTILE.items())[list(COMMANDS).index(command) :: len(COMMANDS) - 1]:
        path = save(put(key, value), "run.ckpt")
        status, said, complaints = typed(module, f"ckpt={path.name}", *arguments)
        path.unlink()
        assert (status, said) == (1, ""), key
        assert complaints.count("\n") == 1, complaints
        name = {"evaluate": "eval"}.get(module, module)
        assert complaints.startswith(f"patchlight-{name}: run.ckpt "), complaints
        assert "never evaluated" in complaints if "SECRET" in str(value) else key in complaints, complaints
        assert "the-secret" not in complaints
        assert "evil" not in sys.modules
        assert sorted(Path().iterdir()) == present, key


def test_from_python_and_in_a_folder_of_the_page(typed: Typed, save: Save, put: Put) -> None:
    from patchlight.page.catalogue import Catalogue, Models, find_choices

    Path("runs").mkdir()
    for i, (key, value) in enumerate(HOSTILE.items()):
        path = save(put(key, value), f"runs/{i}.ckpt")
        with pytest.raises(DataError, match=r"names code that is not Patchlight's own|never evaluated"):
            patchlight.load(path)
    with pytest.raises(DataError, match="none of the checkpoints can be used: .*names code that is not Patchlight's"):
        Catalogue(find_choices(Path("runs")), Models("cpu"), "auto")
    assert "evil" not in sys.modules
    assert not Path("made").exists()


def test_a_training_takes_weights_alone_from_a_checkpoint(
    typed: Typed, save: Save, recorded: dict[str, Any], trained: dict[str, Any], put: Put
) -> None:
    """Its own configuration is what `init_from` builds with; that of the file is not read."""
    cfg = OmegaConf.create(copy.deepcopy(recorded))
    for key, value in HOSTILE.items():
        method = build_method(cfg.model, data_channels(cfg.data))
        load_initial_weights(str(save(put(key, value))), None, method, {}, is_resuming=False)
        state = method.state_dict()
        assert all(torch.equal(state[name], value) for name, value in trained["state_dict"].items())
    assert "evil" not in sys.modules
    assert not Path("made").exists()


def test_importing_takes_tensors_alone(typed: Typed, save: Save, put: Put) -> None:
    path = save(put("model._target_", "evil.Pix2Pix"))
    status, said, complaints = typed("import_weights", f"input={path}", "output=out.ckpt")
    assert (status, said) == (1, "")
    assert complaints.count("\n") == 1
    assert complaints.startswith(f"patchlight-import: {path} holds a ")
    assert "evil" not in sys.modules


def test_networks_that_a_record_calls_untrained(typed: Typed, trained: dict[str, Any]) -> None:
    for names, status, message in (
        (["discriminator"], 0, ""),
        (["generator"], 1, "run.ckpt has no generator but those with initial weights: train it first"),
        ([["generator"], {}, 3], 0, ""),
    ):
        torch.save({**trained, "patchlight": {**trained["patchlight"], "untrained": names}}, "run.ckpt")
        given = ("ckpt=run.ckpt", "output=out", "format=reference", "overwrite=true")
        found, said, complaints = typed("export", *given)
        assert found == status
        assert complaints == (f"patchlight-export: {message}\n" if message else "")
        assert ("--netD" in said) == (names[0] != "discriminator" and status == 0)


OWN = """
import torch
from patchlight.networks import Discriminator

class Mine(Discriminator):
    def __init__(self, in_channels: int, width: int = 4) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(in_channels, 1, 4, 2, 1)

    def forward(self, images):
        return self.layer(images)
"""


def test_a_discriminator_of_the_users_own_needs_trust(
    typed: Typed, put: Put, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    config = put("model.discriminator", {"_target_": "my_module.Mine", "width": 4})
    generator = {key: value for key, value in trained["state_dict"].items() if not key.startswith("discriminator")}
    own = {"discriminator.layer.weight": torch.zeros(1, 6, 4, 4), "discriminator.layer.bias": torch.zeros(1)}
    record = {**trained["patchlight"], "config": config}
    torch.save({**trained, "state_dict": {**generator, **own}, "patchlight": record}, "own.ckpt")
    refused = (
        "own.ckpt names code that is not Patchlight's own, and nothing of it was loaded: "
        "model.discriminator._target_=my_module.Mine. Give trust=true (in Python trust=True) to run it, if you trust "
        "whoever made the file"
    )
    given = ("ckpt=own.ckpt", "input=in.png", "output=out", "device=cpu", "patchmap=true")
    assert typed("translate", *given) == (1, "", f"patchlight-translate: {refused}\n")
    # With trust and without the module, what is missing is said.
    status, _, complaints = typed("translate", *given, "trust=true")
    assert status == 1
    assert "model._target_" not in complaints
    assert "model.discriminator._target_=my_module.Mine cannot be imported: No module named 'my_module'" in complaints
    Path("my_module.py").write_text(OWN, encoding="utf-8")
    assert typed("translate", *given)[0] == 1
    assert "my_module" not in sys.modules
    status, said, complaints = typed("translate", *given, "trust=true")
    assert (status, complaints) == (0, "")
    assert "1 image in " in said
    assert Path("out/in_patchmap.png").is_file()
    status, _, complaints = typed(
        "evaluate", "ckpt=own.ckpt", "data=set", "output=figures", "accelerator=cpu", "num_workers=0", "trust=true"
    )
    assert (status, complaints) == (0, "")
    status, _, complaints = typed("export", "ckpt=own.ckpt", "output=all.safetensors", "networks=all", "trust=true")
    assert (status, complaints) == (0, "")
    with pytest.raises(DataError, match="my_module.Mine"):
        patchlight.load("own.ckpt")
    assert patchlight.load("own.ckpt", trust=True, device="cpu").direction == "AtoB"
    monkeypatch.delitem(sys.modules, "my_module")


def test_evaluating_touches_no_path_of_the_file(typed: Typed, save: Save, put: Put) -> None:
    """Neither is a set rendered nor are features kept where a checkpoint says."""
    config = put("data.render", {"_target_": "patchlight.data.SyntheticSet", "n_train": 1, "n_test": 1, "size": 64})
    for key in ("callbacks.quality.feature_cache", "paths.run_dir", "trainer.default_root_dir"):
        put(key, "/nowhere/made", config)
    put("trainer.profiler", "advanced", config)
    given = ("ckpt=run.ckpt", "output=figures", "accelerator=cpu", "num_workers=0", "n_samples=0")
    outside = Path.cwd().parent / "made"
    for root, message in (
        (str(outside), f"data.root={outside} of the training is not there: give the images by data=DIR"),
        ("a" * 5000, "data.root=aaaa"),
        ("~nobody-of-this-name/x", "run.ckpt has a configuration that cannot be used: data cannot be built: Could not"),
        ("../made", "data.root=../made of the training is relative to the folder that it ran in, and is not in"),
    ):
        save(put("data.root", root, config), "run.ckpt")
        status, _, complaints = typed("evaluate", *given)
        assert status == 1
        assert complaints.startswith(f"patchlight-eval: {message}"), complaints
        assert complaints.count("\n") == 1
        assert not outside.exists()
    status, said, complaints = typed("evaluate", *given, "data=set")
    assert (status, complaints) == (0, "")
    assert "Profiler" not in said
    assert [path.name for path in Path("figures").iterdir()] == ["metrics.json"]
