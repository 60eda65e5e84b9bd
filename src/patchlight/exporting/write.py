"""The three kinds of files, and what computes them without Patchlight."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from patchlight.exporting.graph import ImageGraph
from patchlight.inference.onnx import IMAGE, example_for, session, trace, write_onnx

Format = Literal["onnx", "pt2", "safetensors"]

DESCRIPTION = "patchlight.json"
"""The name of the description among the extra files of a .pt2."""

Compute = Callable[..., Tensor]
"""From images, and values of the conditions, to images."""


def write_graph(graph: ImageGraph, kind: Format, file: Path, description: Mapping[str, str], opset: int) -> None:
    """Write a graph as .onnx or .pt2, with its description inside."""
    channels = int(description["in_channels"])
    with warnings.catch_warnings():  # advice to the authors of exporters
        warnings.simplefilter("ignore")
        program = trace(graph, example_for(channels, graph.generator, graph.dtype))
        if kind == "onnx":
            names = (IMAGE, *graph.generator.conditions)
            write_onnx(program, file, names=names, opset=opset, metadata=description)
        else:
            torch.export.save(program, file, extra_files={DESCRIPTION: json.dumps(description)})


def open_graph(kind: Format, file: Path) -> tuple[Compute, dict[str, str]]:
    """What computes a written file, and its description: by ONNX Runtime or PyTorch alone."""
    if kind == "onnx":
        runtime = session(file)
        description: dict[str, str] = runtime.get_modelmeta().custom_metadata_map

        names = [value.name for value in runtime.get_inputs()]

        def compute(*batch: Tensor) -> Tensor:
            inputs = {name: tensor.numpy() for name, tensor in zip(names, batch, strict=True)}
            return torch.from_numpy(runtime.run(None, inputs)[0])

        return compute, description
    extra_files = {DESCRIPTION: ""}
    module = torch.export.load(file, extra_files=extra_files).module()
    return module, json.loads(extra_files[DESCRIPTION])


def write_tensors(networks: Mapping[str, nn.Module], file: Path, description: Mapping[str, str]) -> None:
    """Write the weights of networks as .safetensors, by the names NETWORK.LAYER; the description is in its header."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    save_file(tensors, file, metadata=dict(description))


def open_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a .safetensors file and its description."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata()  # noqa: SIM118
