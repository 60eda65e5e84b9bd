"""Records of checkpoints that were changed at random: one message of one line, or a model that works."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from patchlight import checkpoint as checkpoint_module
from patchlight.checkpoint import read_checkpoint, recorded_config, weights
from patchlight.cli import evaluate
from patchlight.config.attribution import recorded_in
from patchlight.config.validation import validate
from patchlight.errors import UserError
from patchlight.inference.loading import TrainedModel

TRIES = 400
BUILT = 20
"""Networks are built of every so many of those that are not refused: it takes a tenth of a second."""

EVAL = evaluate.EvalConfig(
    ckpt="x", root=None, split="test", output="out", weights="ema", inference_mode=None, n_samples=0, lpips=None,
    feature=None, metrics=None, accelerator="cpu", num_workers=0, overwrite=False, trust=False,
)  # fmt: skip


def _values(rng: random.Random) -> Any:
    """Something that does not belong there."""
    deep: Any = 0
    for _ in range(rng.choice([3, 40, 200])):
        deep = {"a": deep} if rng.random() < 0.5 else [deep]
    itself: list[Any] = []
    itself.append(itself)
    target = rng.choice(["os.system", "evil.run", "sympy.sympify", "patchlight.networks.UNetGenerator", "torch.load"])
    return rng.choice([
        None, True, False, 0, 1, 2, 3, -1, 7, 10**6, 10**9, 10**30, -(10**18), 0.5, 1e300, float("nan"), float("inf"),
        -float("inf"), "", "x", "auto", "x" * 100_000, "${oc.env:SECRET}", "${", "???", "a\0b", "\ud800", [], {},
        [1, 2], [[]], [None] * 30_000, {"a": 1}, {1: 2}, {"_target_": target}, {"_target_": target, "_partial_": True},
        [{"_target_": target}], {"_args_": [target]}, {"_target_": 3}, deep, itself, (1, 2), {1, 2}, b"x", 1j,
        torch.zeros(2), torch.zeros(1).expand(10**12), torch.zeros(2, dtype=torch.int8), torch.zeros(2).to_sparse(),
        torch.zeros(3, device="meta"), torch.float32, torch.Size([1]), torch.device("cpu"), slice(1),
    ])  # fmt: skip


def _places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if len(way) > 20:  # what was put there may be without end
        return
    for name, value in items:
        yield (*way, name)
        yield from _places(value, (*way, name))


def _mutate(content: dict[str, Any], rng: random.Random) -> list[str]:
    """Change a few places, in place; returns what was done."""
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        # Weights and the record are drawn alike, though there are more of the former.
        part = rng.choice([content, content["patchlight"]]) if isinstance(content.get("patchlight"), dict) else content
        places = list(_places(part))
        if not places:
            break
        *way, last = rng.choice(places)
        node: Any = part
        for name in way:
            node = node[name]
        action = rng.choice(["replace", "replace", "replace", "delete", "rename", "swap", "inject"])
        if action == "replace":
            node[last] = _values(rng)
        elif action == "delete":
            del node[last]
        elif action == "rename" and isinstance(node, dict):
            node[rng.choice(["", "x", "_target_", "_args_", "_partial_", "${x}", "a.b", 3, None])] = node.pop(last)
        elif action == "swap":
            other = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            node[last], node[other] = node[other], node[last]
        elif action == "inject" and isinstance(node, dict):
            node[rng.choice(["_target_", "_args_", "_partial_", "_convert_", "_recursive_", "x"])] = _values(rng)
        done.append(f"{action} {'.'.join(map(str, (*way, last)))}")
    return done


def _use(path: Path, build: bool) -> None:
    """What the commands do with a checkpoint, up to the first image if `build`."""
    model = TrainedModel(path)
    if not build:
        return
    content = read_checkpoint(path)
    with recorded_in(path):
        validate(evaluate._configuration(recorded_config(content, path, trust=False), EVAL))
    weights(content)
    model.translator(device="cpu")(torch.zeros(3, 64, 64))
    model.patch_scorer(device="cpu")


@pytest.mark.untraced  # which goes through the same lines again and again
@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch, about odd tensors
def test_changed_records(trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "the-secret")
    path = tmp_path / "x.ckpt"
    path.write_bytes(b"x" * 2**22)  # which is asked for its size alone
    rng = random.Random(20)
    # Composed once, and not for each.
    base = evaluate.compose_config("train", ["data.root=."])
    monkeypatch.setattr(evaluate, "compose_config", lambda *arguments: base)
    good = 0
    for i in range(TRIES):
        content = {**trained, "state_dict": dict(trained["state_dict"]), "ema": dict(trained["ema"])}
        content["patchlight"] = copy.deepcopy(trained["patchlight"])
        done = _mutate(content, rng)
        # Read from memory: what as many files would add is their time.
        monkeypatch.setattr(checkpoint_module, "_load", lambda path, mapped=False, content=content: content)
        try:
            _use(path, build=i % BUILT == 0)
            good += 1
        except UserError as error:
            said = str(error)
            assert said, (i, done)
            assert "\n" not in said, (i, done)
            assert len(said) < 5000, (i, done)
            assert "the-secret" not in said, (i, done)
        except BaseException as error:
            raise AssertionError(f"try {i}: {done} ended in {type(error).__name__}: {error}") from error
    assert 0 < good < TRIES / 2


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"patchlight": []}, "is damaged: what it says of the run that wrote it has no format"),
        ({"patchlight": {"format": "2"}}, "is damaged: what it says of the run that wrote it has no format"),
        ({"patchlight": {"format": 3, "version": ["x"] * 99}}, "which is newer than this"),
        ({"patchlight": {"format": 2, "version": "0"}}, "is damaged: its record has no config"),
        ({"patchlight": {"format": 2, "version": 1, "config": {}}}, "version of its record is a int"),
        ({"state_dict": []}, "state_dict of the checkpoint is a list"),
        ({"state_dict": {1: torch.zeros(1)}}, "state_dict holds something else than tensors at 1"),
        ({"state_dict": {"x": "y"}}, "state_dict holds something else than tensors at x"),
        ({"ema": {"x": torch.zeros(1).expand(10**12)}}, "ema holds something else than tensors at x"),
        ({"ema": {"x": torch.zeros(1, dtype=torch.complex64)}}, "ema holds something else than tensors at x"),
        ({"ema": 3}, "ema of the checkpoint is a int"),
        ({"ranks": {}}, "ranks of the checkpoint is a dict"),
        ({"global_step": True}, "global_step of the checkpoint is a bool"),
        ({"progress": None}, "progress of the checkpoint is a NoneType"),
    ],
)
def test_parts_of_a_wrong_type(trained: dict[str, Any], tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({**trained, **parts}, path)
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path} ")
    assert message in str(caught.value)


def test_weights_that_are_described_and_not_there(trained: dict[str, Any], tmp_path: Path) -> None:
    """A thousand names for one tensor would take a thousand times its memory."""
    one = torch.zeros(1000)
    path = tmp_path / "x.ckpt"
    torch.save({**trained, "ema": {f"generator.{i}": one for i in range(10_000)}}, path)
    with pytest.raises(UserError, match="describes more weights than it holds"):
        read_checkpoint(path)
