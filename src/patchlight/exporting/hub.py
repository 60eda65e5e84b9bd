"""A trained model as a folder for a model hub: weights, configuration, samples and a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from patchlight import __version__
from patchlight.checkpoint import BEST, EMA_KEY, FORMAT, LAST, RECORD_KEY, Weights
from patchlight.errors import ConfigError, DataError
from patchlight.exporting.card import Card, Measured
from patchlight.exporting.description import plain
from patchlight.inference.loading import TrainedModel
from patchlight.inference.model_folder import RECORD, TENSORS, read_model_folder
from patchlight.system.files import check_free, whole_file
from patchlight.trust import read_json

CARD, SHEET, SAMPLES = "README.md", "samples.png", "samples"
PICTURES = ("real_A", "fake_B", "real_B", "fake_A", "rec_A", "rec_B")
N_SAMPLES = 4
"""How many inputs there are sample pictures of."""

COPIES = tuple(f"{SAMPLES}/{n:02d}_{name}.png" for n in range(N_SAMPLES) for name in PICTURES)
"""The sample pictures that an export may write; other files of their folder are not its own."""

SECTIONS = ("data", "model")
"""The parts of the configuration that a model is built from."""


def check_folder(folder: Path, overwrite: bool, run: Path) -> None:
    """See that a model folder can be written there, beside whatever else it holds; `run` is the folder of the run.

    Raises:
        ConfigError: it is a file or the run itself, or holds a file of this name already.
    """
    if folder.is_file():
        raise ConfigError(f"output={folder} is a file: format=hub writes a folder")
    if _is_same(folder, run) or _is_same(folder / SAMPLES, run / SAMPLES):
        raise ConfigError(f"output={folder} is the folder of the run, whose own files are kept: choose another folder")
    for name in (TENSORS, RECORD, CARD, SHEET):
        check_free(folder / name, overwrite)
    if (folder / SAMPLES).exists() and not overwrite:
        raise ConfigError(f"output={folder / SAMPLES} is there already: choose another name, or give overwrite=true")
    if (folder / SAMPLES).is_file() or any((folder / name).is_dir() for name in COPIES):
        raise ConfigError(f"output={folder / SAMPLES} is no folder of sample pictures: choose another folder")


def write_model_folder(
    model: TrainedModel, networks: Mapping[str, nn.Module], folder: Path, *, weights: Weights, license: str | None,
    samples: bool,
) -> list[Path]:  # fmt: skip
    """Write the folder, whose weights are kept if they are the very same when read again; its files, the card first.

    No path of this machine stands in it. `samples` puts in the pictures that the run has left.

    Raises:
        DataError: a file cannot be written, or did not come back as it was.
    """
    run = run_folder(model)
    averaged = weights == "ema" and EMA_KEY in model.checkpoint
    config = recorded(model)
    left_out = sorted(set(model.specs) - set(networks))
    record = {"format": FORMAT, "version": __version__, "config": config, "untrained": left_out}
    with whole_file(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    own = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    with whole_file(folder / TENSORS) as temporary:
        save_file({key: value.cpu().contiguous() for key, value in own.items()}, temporary, metadata={"format": "pt"})
    read = read_model_folder(folder)["state_dict"]
    if read.keys() != own.keys() or not all(torch.equal(read[key], value.cpu()) for key, value in own.items()):
        raise DataError(f"{folder / TENSORS} did not come back as it was written: do not use it")
    pictures = list(_copy_samples(run / SAMPLES, folder)) if samples else []
    manifest = _json_of(run / "manifest.json")
    git = manifest.get("git")
    card = Card(
        config=config,
        version=str(model.checkpoint[RECORD_KEY]["version"]),
        directions=[direction for direction, name in model.generators.items() if name in networks],
        inference_mode=model.blueprint.inference_mode,
        averaged=averaged,
        networks={name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()},
        measured=measured(run, Path(model.path).name, averaged),
        license=license,
        images=_part(_part(manifest, "data"), "images"),
        fields={
            name: geometry["receptive_field"]
            for name, geometry in _part(manifest, "discriminators").items()
            if isinstance(geometry, dict) and isinstance(geometry.get("receptive_field"), int)
        },
        commit=str(git["commit"]) if isinstance(git, dict) and git.get("commit") else "unknown",
        samples=SHEET if folder / SHEET in pictures else None,
    )
    with whole_file(folder / CARD) as temporary:
        card.write(temporary)
    return [folder / CARD, folder / RECORD, folder / TENSORS, *pictures]


def run_folder(model: TrainedModel) -> Path:
    """The folder of the run that a checkpoint belongs to, if it lies in one."""
    return Path(model.path).absolute().parent.parent


def recorded(model: TrainedModel) -> dict[str, Any]:
    """What a model is built from, and its seed; of paths of this machine the last part only."""
    config = {section: _without_paths(plain(model.config[section])) for section in SECTIONS}
    for key in ("task", "seed"):
        if isinstance(value := model.config.get(key), str | int):
            config[key] = value
    return config


def measured(run: Path, checkpoint: str, averaged: bool) -> Measured:
    """The figures that a run has for the weights of one of its checkpoints."""
    which = {LAST: "last", BEST: "best"}.get(checkpoint)
    metrics = _json_of(run / "metrics.json")
    protocol = _part(metrics, "protocol")
    if which is None or not metrics:
        return Measured(missing="the checkpoint does not lie in the folder of its run, or the run was not tested")
    if protocol.get("weights") != ("moving average" if averaged else "as trained"):
        return Measured(missing=f"the run was tested with other weights ({protocol.get('weights')})")
    figures = {name: float(v) for name, v in _part(metrics, which).items() if isinstance(v, int | float)}
    return Measured(figures, protocol, "" if figures else f"the run has none of its {which} weights")


def _copy_samples(samples: Path, folder: Path) -> Iterator[Path]:
    """Copy the newest sheet and the first pictures, in place of those that an earlier export left."""
    for name in (SHEET, *COPIES):
        (folder / name).unlink(missing_ok=True)
    sheet = max(samples.glob("step_????????.png"), default=None)
    copies = [(sheet, folder / SHEET)] if sheet is not None else []
    chosen = [(samples / "latest" / Path(name).name, folder / name) for name in COPIES]
    copies += [(picture, target) for picture, target in chosen if picture.is_file()]
    for source, target in copies:
        target.parent.mkdir(exist_ok=True)
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)
        yield target


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _without_paths(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_paths(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_paths(value) for value in node]
    if isinstance(node, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(node).is_absolute() or node.startswith("~"):
                return kind(node).name
    return node


def _json_of(path: Path) -> dict[str, Any]:
    """The content of a file of the run; nothing where there is none, or it is damaged."""
    content: Any = None
    with suppress(DataError):
        content = read_json(path) if path.is_file() else None
    return content if isinstance(content, dict) else {}


def _part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    return part if isinstance(part, dict) else {}
