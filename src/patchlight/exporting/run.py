"""One export, from a checkpoint to a file that was compared with PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from torch import nn

from patchlight.checkpoint import Weights
from patchlight.errors import ConfigError, DataError
from patchlight.exporting.description import describe, plain
from patchlight.exporting.graph import (
    RANGES,
    ImageGraph,
    ValueRange,
    open_graph,
    open_tensors,
    write_graph,
    write_tensors,
)
from patchlight.exporting.hub import check_folder, run_folder, write_model_folder
from patchlight.exporting.parity import compare, limit, measure
from patchlight.exporting.reference import command_line_options, reference_files, remarks, write_reference
from patchlight.inference.loading import TrainedModel
from patchlight.inference.onnx import PACKAGES, require
from patchlight.inference.translator import Direction, Translator
from patchlight.methods.inference import InferenceMode
from patchlight.system.files import check_free, whole_file


@dataclass(frozen=True)
class ExportOptions:
    """What is to be exported, and how."""

    ckpt: Path
    output: Path
    direction: Direction | None
    weights: Weights
    inference_mode: InferenceMode | None
    value_range: ValueRange
    every_network: bool
    license: str | None
    samples: bool
    opset: int
    speed: bool
    overwrite: bool
    trust: bool


def export_graph(options: ExportOptions, kind: Literal["onnx", "pt2"]) -> None:
    """Write .onnx or .pt2, and keep it if it computes what PyTorch does.

    Raises:
        UserError: the file cannot be made, or computes something else.
    """
    check_free(options.output, options.overwrite)
    if kind == "onnx":
        require(PACKAGES, f"output={options.output}", "onnx")
    model, translator = _translator(options)
    graph = ImageGraph(
        translator.call, options.value_range, translator.inference_mode, translator.reads, translator.writes
    )
    description = describe(model, translator, graph, options.weights, options.license)
    _print(
        f"{translator.direction}, inference_mode={translator.inference_mode}, values: {RANGES[graph.value_range]}; "
        f"sides are multiples of {translator.generator.size_multiple}"
    )
    if translator.one_by_one:
        _print(
            "note: batch norm takes the statistics of each image, as in training and in its tests; the dropout that "
            "they had is left out"
        )
    with whole_file(options.output) as temporary:
        write_graph(graph, kind, temporary, description, options.opset)
        compute, read = open_graph(kind, temporary)
        if read != description:
            raise DataError(f"{options.output} lost its description: no file was kept")
        found = compare(compute, graph, translator.in_channels)
        unit = "levels" if options.value_range == "bytes" else "in the range of its values"
        _print(f"largest difference to PyTorch ({unit}): {', '.join(map(str, found))}")
        worst = max(agreement.difference for agreement in found)
        if not worst <= limit(graph):
            raise DataError(
                f"{options.output} differs from PyTorch by {worst:.2g}, more than {limit(graph):g}: no file was kept"
            )
    if options.speed:
        size = model.config.data.image_size
        multiple = translator.generator.size_multiple
        side = -(-(size if isinstance(size, int) else max(size)) // multiple) * multiple
        exported, ours = measure(compute, graph, translator.in_channels, side)
        name = "ONNX Runtime" if kind == "onnx" else "the exported program"
        _print(
            f"{exported:.2f} images a second by {name}, {ours:.2f} by PyTorch as it is: a ratio of "
            f"{exported / ours:.2f} ({side}x{side} pixels, {torch.get_num_threads()} threads)"
        )
    _print_size(options.output)


def export_tensors(options: ExportOptions) -> None:
    """Write .safetensors, and keep it if it holds the very same weights.

    Raises:
        UserError: the file cannot be made, or holds others.
    """
    check_free(options.output, options.overwrite)
    model, translator = _translator(options)
    graph = ImageGraph(translator.call, "normalised", translator.inference_mode)
    name = model.generators[translator.direction]
    networks = _trained_networks(model, options.weights) if options.every_network else {name: translator.generator}
    said = describe(model, translator, graph, options.weights, options.license)
    description = {**said, "generator": name, "networks": ", ".join(networks)}
    del description["dropout"]  # which is a matter of what is built around the weights
    with whole_file(options.output) as temporary:
        write_tensors(networks, temporary, description)
        tensors, read = open_tensors(temporary)
        own = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
        if read != description or tensors.keys() != own.keys():
            raise DataError(f"{options.output} did not come back as it was written: no file was kept")
        different = [key for key, value in own.items() if not torch.equal(tensors[key], value.cpu())]
        if different:
            raise DataError(f"{options.output} has other values in {different[0]}: no file was kept")
    _print(f"{len(tensors)} tensors of {', '.join(networks)}, equal to the bit when read again")
    _print_size(options.output)


def export_reference(options: ExportOptions) -> None:
    """Write a folder of latest_net_G.pth and so on, each kept if it holds the very same weights.

    Raises:
        UserError: a file cannot be made, or the reference code has no such network.
    """
    _require_plain(options, "reference")
    model = TrainedModel(options.ckpt, trust=options.trust)
    networks = _trained_networks(model, options.weights)
    if not any(model.specs[name].kind == "generator" for name in networks):
        raise DataError(f"{options.ckpt} has no generator but those with initial weights: train it first")
    files = reference_files(networks, options.output, options.overwrite)
    config = plain(model.config.model)
    try:
        flags, changes = command_line_options(networks, config), remarks(networks, config)
    except KeyError as error:
        raise DataError(f"{options.ckpt} does not say the {error.args[0]} of its networks") from None
    write_reference(networks, files)
    for name, path in files.items():
        _print(f"{path}: {name}")
    direction = model.trained_direction
    _print(
        f"equal to the bit when read again; the reference's A is domain {direction[0]} as it lies on the disk and its "
        f"B is {direction[-1]}, by its option --direction {direction}"
    )
    _print(f"its options: {flags} --input_nc {model.channels['A']} --output_nc {model.channels['B']}")
    for remark in changes:
        _print(f"note: {remark}")


def export_hub(options: ExportOptions) -> None:
    """Write a folder for a model hub, which `patchlight.load` reads: weights, configuration, samples and a card.

    Raises:
        UserError: a file cannot be made, or did not come back as it was.
    """
    _require_plain(options, "hub")
    model = TrainedModel(options.ckpt, trust=options.trust)
    check_folder(options.output, options.overwrite, run_folder(model))
    trained = _trained_networks(model, options.weights)
    every = options.every_network
    networks = {name: net for name, net in trained.items() if every or model.specs[name].kind == "generator"}
    if not any(model.specs[name].kind == "generator" for name in networks):
        raise DataError(f"{options.ckpt} has no generator but those with initial weights: train it first")
    files = write_model_folder(
        model, networks, options.output, weights=options.weights, license=options.license, samples=options.samples
    )
    for path in files[:3]:
        _print_size(path)
    pictures = len(files) - 3
    _print(f"{pictures} sample pictures of the run" if pictures else "no sample pictures")
    _print(
        f"{', '.join(networks)}: equal to the bit when read again; patchlight.load({str(options.output)!r}) loads them"
    )
    if options.license is None:
        _print("note: the card states no licence of the weights, which only you know: license=CC-BY-4.0, for example")


def _require_plain(options: ExportOptions, kind: str) -> None:
    if options.direction is not None or options.inference_mode is not None or options.value_range != "normalised":
        raise ConfigError(f"format={kind} writes weights alone: leave out direction, inference_mode and range")


def _translator(options: ExportOptions) -> tuple[TrainedModel, Translator]:
    model = TrainedModel(options.ckpt, trust=options.trust)
    translator = model.translator(
        weights=options.weights, direction=options.direction, device="cpu", inference_mode=options.inference_mode
    )
    return model, translator


def _trained_networks(model: TrainedModel, which: Weights) -> dict[str, nn.Module]:
    """All networks by their names in the method, but for those that an import left with initial weights."""
    with torch.random.fork_rng(devices=[]):
        return {name: model.network(name, which, nn.Module) for name in model.specs if name not in model.untrained}


def _print(line: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(line)


def _print_size(path: Path) -> None:
    _print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")
