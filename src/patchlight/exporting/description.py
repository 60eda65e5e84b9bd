"""What an exported file says of itself: strings by name, which every format can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from patchlight import __version__
from patchlight.checkpoint import EMA_KEY, RECORD_KEY, Weights
from patchlight.data.contents import SETTINGS
from patchlight.errors import DataError
from patchlight.exporting.graph import RANGES, ImageGraph
from patchlight.inference.loading import TrainedModel
from patchlight.inference.translator import Translator
from patchlight.runs.records import git_state
from patchlight.trust import read_json

OF_IMAGES = ("direction", "image_size", "load_size", "channels_a", "channels_b", *SETTINGS)
"""Keys of the data that matter to images, and say nothing of the machine."""

OF_LABELS = ("n_classes", "instances")


def describe(
    model: TrainedModel, translator: Translator, graph: ImageGraph, weights: Weights, license: str | None
) -> dict[str, str]:
    """Direction, values, sizes, origin and licence of an exported generator; every value is a string.

    `license` is that of the weights, which only the one who trained them knows; None is said to be unknown.
    """
    data = plain(model.config.data)
    return {
        "direction": translator.direction,
        "in_channels": str(translator.in_channels),
        "out_channels": str(translator.out_channels),
        "value_range": RANGES[graph.value_range],
        "layout": _layout(translator),
        "size_multiple": str(translator.generator.size_multiple),
        "conditions": ", ".join(f"{name} ({what})" for name, what in translator.call.conditions.items()) or "none",
        "inference_mode": translator.inference_mode,
        "dropout": "left out",
        "weights": weights if EMA_KEY in model.checkpoint else "raw",
        "license": license if license is not None else "not stated",
        "producer": f"patchlight {__version__}",
        "commit": _commit(git_state()),
        "trained_with": f"patchlight {model.checkpoint[RECORD_KEY]['version']}",
        "trained_commit": _commit(_git_of_the_run(Path(model.path))),
        "torch": version("torch"),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "model": json.dumps(plain(model.config.model)),
        "data": json.dumps({key: data[key] for key in OF_IMAGES if _is_set(data, key)}),
    }


def _git_of_the_run(checkpoint: Path) -> dict[str, Any] | None:
    """What the manifest of the run says, if the checkpoint still lies in its folder."""
    manifest = checkpoint.absolute().parent.parent / "manifest.json"
    try:
        found = read_json(manifest)
    except DataError:
        return None
    git = found.get("git") if isinstance(found, dict) else None
    return git if isinstance(git, dict) and isinstance(git.get("commit"), str) else None


def _commit(git: Mapping[str, Any] | None) -> str:
    return "unknown" if git is None else git["commit"] + (", changed" if git.get("changed") else "")


def plain(section: DictConfig) -> dict[str, Any]:
    """A section of a configuration as plain values."""
    content: dict[str, Any] = OmegaConf.to_container(section, resolve=True)  # type: ignore[assignment]
    return content


def _is_set(data: Mapping[str, Any], key: str) -> bool:
    """Whether a key says something; what images hold is told only where it is not as usual."""
    return data.get(key) is not None and (key in OF_LABELS or key not in SETTINGS or data[key] != SETTINGS[key])


def _layout(translator: Translator) -> str:
    read, made = translator.reads.describe(), translator.writes.describe()
    if read is None and made is None:
        return "B C H W, channels in the order R G B"
    return f"B C H W, {read or 'R G B'}; out {made or 'R G B'}"
