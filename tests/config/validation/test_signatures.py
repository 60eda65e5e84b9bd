"""What is read of the sources is what an import would say."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from pydantic import TypeAdapter

from patchlight.config.compose import config_dir
from patchlight.config.validation.signatures import locate, signature, table_of
from patchlight.config.validation.values import writable
from patchlight.errors import ConfigError


def named_targets() -> set[str]:
    """Every `_target_` in the YAML files, and those that the code has built."""

    def within(node: Any) -> set[str]:
        if isinstance(node, dict):
            return (
                {node["_target_"]}
                if isinstance(node.get("_target_"), str)
                else set().union(*map(within, node.values()), set())
            )
        return set().union(*map(within, node), set()) if isinstance(node, list) else set()

    files = [path for path in config_dir().rglob("*.yaml") if "hydra" not in path.parts]
    found = set().union(*(within(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in files))
    return found | {"patchlight.networks.init_weights"}


@pytest.mark.parametrize("target", sorted(named_targets()))
def test_read_as_imported(target: str) -> None:
    read, imported = signature(target, "test"), locate(target, "test")
    parameters = inspect.signature(imported).parameters
    named = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    assert list(read.parameters) == named
    assert read.takes_any == any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if target.startswith("patchlight."):
        hints = get_type_hints(imported.__init__ if inspect.isclass(imported) else imported, include_extras=True)
        for name in named:
            assert meaning(read.hint(name)) == meaning(hints[name]), name


def meaning(hint: Any) -> Any:
    return TypeAdapter(writable(hint)).json_schema()


def test_networks_of_methods() -> None:
    for name in ("Pix2Pix", "CycleGAN"):
        target = f"patchlight.methods.{name}"
        table = locate(target, "model").networks
        assert table_of(target, "networks", "model") == {
            key: {name: getattr(spec, name) for name in ("kind", "reads", "writes") if getattr(spec, name) is not None}
            for key, spec in table.items()
        }
    assert table_of("patchlight.networks.UNetGenerator", "networks", "model") is None


def test_classes_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks.py").write_text(
        "from typing import Literal\nfrom patchlight.networks import PatchDiscriminator\nKind = Literal['a', 'b']\n"
        "class Own(PatchDiscriminator):\n    pass\n"
        "class Other(PatchDiscriminator):\n"
        "    def __init__(self, in_channels: int, kind: Kind, thing: 'Unknown' = None, **more: int) -> None: ...\n"
        "class Third(PatchDiscriminator):\n"
        "    def __init__(self, kind: Kind, ndf: str = '', **rest: int) -> None:\n"
        "        super().__init__(ndf=len(ndf), **rest)\n"
        "Dynamic = type('Dynamic', (), {'__init__': lambda self, depth: None})\n"
    )
    (tmp_path / "own_broken.py").write_text("class Own(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = signature("own_networks.Own", "test")
    assert own.parameters == ("in_channels", "ndf", "n_layers", "norm", "spectral_norm", "antialias")
    other = signature("own_networks.Other", "test")
    assert (other.parameters, other.takes_any) == (("in_channels", "kind", "thing"), True)
    assert meaning(other.hint("kind"))["enum"] == ["a", "b"]
    third = signature("own_networks.Third", "test")  # which hands on to its parent what it does not name
    assert third.parameters == ("kind", "ndf", "in_channels", "n_layers", "norm", "spectral_norm", "antialias")
    assert not third.takes_any
    assert meaning(third.hint("ndf")) == {"type": "string"}
    assert meaning(third.hint("n_layers")) == meaning(own.hint("n_layers"))
    assert "own_networks" not in sys.modules
    assert signature("own_networks.Dynamic", "test").parameters == ("self", "depth")[1:]  # only an import tells
    for target, message in {
        "own_networks.Nothing": "test._target_=own_networks.Nothing cannot be imported: .* no attribute 'Nothing'",
        "own_broken.Own": "test._target_=own_broken.Own cannot be imported: invalid syntax",
        "nowhere.Own": "test._target_=nowhere.Own cannot be imported: No module named 'nowhere'",
        "word": "test._target_=word cannot be imported: Empty module name",
    }.items():
        with pytest.raises(ConfigError, match=message):
            signature(target, "test")


def test_a_wrong_value_is_found_without_torch() -> None:
    """In a process of its own, as this one has imported it."""
    code = (
        "import sys, json\nfrom patchlight.cli.train import main\nfound = {}\n"
        "for word in ('data.batch_size=0', 'model.optimizer.lr=often', 'trainer.max_steps=0', '+model.lamda_l1=3'):\n"
        "    sys.argv[1:] = [word]\n"
        "    try: main()\n    except SystemExit as stop: found[word] = stop.code\n"
        "print(json.dumps([found, sorted({'torch', 'lightning', 'numpy', 'cv2', 'wandb'} & set(sys.modules))]))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    found, heavy = json.loads(process.stdout)
    assert heavy == []
    assert set(found.values()) == {1}
    assert process.stderr.splitlines() == [
        "patchlight-train: data.batch_size=0 should be greater than 0",
        "patchlight-train: model.optimizer.lr=often should be a valid number",
        "patchlight-train: trainer.max_steps=0 should be greater than 0 or -1",
        "patchlight-train: model.lamda_l1 is no key of the configuration: did you mean lambda_l1? model has "
        + process.stderr.splitlines()[3].partition("model has ")[2],
    ]
