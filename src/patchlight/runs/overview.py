"""What a run is about to do, in one table: networks, images, device, length and folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from patchlight.callbacks.quality import mean_of
from patchlight.runs.geometry import PatchGeometry
from patchlight.runs.length import Length
from patchlight.runs.preflight import Run
from patchlight.runs.records import hardware

HEADER = ("network", "parameters", "GFLOP/image", "receptive field", "patch map")

MARGIN = 9
"""Characters before the facts, which the longest of their titles has room in."""


def overview(run: Run, cfg: DictConfig) -> list[str]:
    """The table, a line for each network and each fact.

    GFLOP are those of one forward pass of one image at the training's size, see `network_costs`.
    """
    lines = _columns([HEADER, *_networks(run)])
    lines.append("-" * max(map(len, lines)))
    return [*lines, *(f"{title:<{MARGIN}}{text}" for title, text in _facts(run, cfg))]


def padding_notes(geometries: Sequence[PatchGeometry]) -> list[str]:
    """A sentence for each receptive field that is larger than the image, with the discriminators that have it."""
    names: dict[tuple[int, int], list[str]] = {}
    for geometry in geometries:
        if geometry.padding:
            names.setdefault((geometry.receptive_field, geometry.padding), []).append(geometry.name)
    return [
        f"{', '.join(found)}: the receptive field, {field} px, is larger than the image, so no patch is seen whole "
        f"({padding} px of it are padding)"
        for (field, padding), found in names.items()
    ]


def _networks(run: Run) -> Iterator[tuple[str, str, str, str, str]]:
    for cost in run.costs:
        flops = f"{cost.flops / 1e9:.3g}" if cost.flops is not None else ""
        first = cost.name, number(cost.parameters), flops
        maps = [g for g in run.geometries if g.name == cost.name or g.name.startswith(f"{cost.name}_scale")]
        for i, geometry in enumerate(maps):
            field = f"{geometry.receptive_field} x {geometry.receptive_field} px"
            name = geometry.name if len(maps) > 1 else cost.name
            rest = first[1:] if i == 0 else ("", "")
            yield (name, *rest, field, f"{geometry.map_size[0]} x {geometry.map_size[1]}")
        if not maps:
            yield (*first, "", "")


def _facts(run: Run, cfg: DictConfig) -> Iterator[tuple[str, str]]:
    images = run.data.describe()["images"]
    size = cfg.data.image_size
    height, width = (size, size) if isinstance(size, int) else size
    counts = ", ".join(f"{split} {_images(numbers['A'], numbers['B'])}" for split, numbers in images.items())
    yield "method", f"{type(run.method).__name__}, {cfg.data.direction}, seed {cfg.seed}"
    often = f", train {run.data.repeat} times an epoch" if run.data.repeat > 1 else ""
    yield "images", f"{counts}{often}; {height} x {width} px"
    yield "device", f"{device_name(run.trainer)}, precision {cfg.trainer.precision}"
    yield "length", length_of(run.length)
    if run.evaluation.best is not None:
        best = run.evaluation.best
        figure = best.monitor.removeprefix("val/")
        quality = run.evaluation.quality
        means = mean_of(figure, quality.figure_names(run.method)) if quality is not None else []
        meaning = f", the mean of {' and '.join(means)}" if means else ""
        of = ": of reconstructions, not of translations" if means and means[0].startswith("rec_") else ""
        yield "best", f"{'lowest' if best.mode == 'min' else 'highest'} {best.monitor}{meaning}{of}"
    yield "folder", shortest(Path(cfg.paths.run_dir))


def _images(a: int, b: int) -> str:
    return str(a) if a == b else f"{a} A and {b} B"


def device_name(trainer: Trainer) -> str:
    """The device that a run computes on, with its model, how many there are, and of a CPU its threads."""
    device = trainer.strategy.root_device
    times = f"{trainer.world_size} x " if trainer.world_size > 1 else ""
    if device.type == "cuda":
        return f"{times}{device.type} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{times}{device.type} ({hardware()['processor']}), {threads} thread{'s' * (threads != 1)}"


def length_of(length: Length) -> str:
    """Epochs and batches of a training in words."""
    images = f"{length.ranks} x {length.batch_size}" if length.ranks > 1 else str(length.batch_size)
    epoch = f"{length.batches} batch{'es' * (length.batches != 1)} of {images}"
    if length.total is None:
        return f"no end; an epoch has {epoch}"
    whole = length.epochs is not None and length.epochs * length.batches == length.total
    if not whole:
        return f"up to trainer.max_steps={length.steps}, an epoch of {epoch}: {length.total} batches"
    return f"{length.epochs} epoch{'s' * (length.epochs != 1)} of {epoch}: {length.total} in all"


def number(value: int) -> str:
    """A number of parameters in three or four digits: `54.41 M`."""
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= factor:
            return f"{value / factor:.2f} {unit}"
    return str(value)


def shortest(folder: Path) -> str:
    """A path as it is found from the current folder."""
    place, here = Path(os.path.abspath(folder)), Path.cwd()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells under one another; numbers, which are in the second and third column, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in (1, 2) else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
