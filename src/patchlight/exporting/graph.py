"""A generator made into one graph, from the pixels of the caller to pixels of the same kind, and the files of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from patchlight.data.content import Colours, Content
from patchlight.data.images import to_float, to_levels
from patchlight.data.labels import LabelMaps
from patchlight.errors import ConfigError
from patchlight.inference.onnx import IMAGE, example_for, random_conditions, session, trace, write_onnx
from patchlight.methods.inference import InferenceMode
from patchlight.networks import Generator, SyncBatchNorm

ValueRange = Literal["normalised", "unit", "bytes", "values"]

RANGES: dict[ValueRange, str] = {
    "normalised": "float32 in [-1, 1]",
    "unit": "float32 in [0, 1]",
    "bytes": "uint8, 0 to 255",
    "values": "float32, the values of files",
}
"""What the values of images are, in and out."""


class ImageGraph(nn.Module):
    """A generator with the conversion of its images inside: B C H W in `value_range` to B C H W in it.

    `bytes` become values as images are read for training, and values become bytes as its own images are written. The
    generator's conditions are further inputs, in its order. In `paper` mode batch norm takes the statistics of each
    image, as in a batch of one, and there is no dropout, whose noise would be another each time. `values` are those of
    files, in the limits of `reads` and `writes`, which are what the images hold; values beyond them are clipped.

    Raises:
        ConfigError: `bytes` for images that are no bytes.
    """

    low_in: Tensor
    high_in: Tensor
    low_out: Tensor
    high_out: Tensor

    def __init__(
        self,
        generator: Generator,
        value_range: ValueRange,
        inference_mode: InferenceMode,
        reads: Content | None = None,
        writes: Content | None = None,
    ) -> None:
        super().__init__()
        for content in (reads, writes):
            if value_range == "bytes" and content is not None and not isinstance(content, Colours | LabelMaps):
                raise ConfigError(f"range=bytes is of 8-bit colours, and images are {content.describe()}: range=values")
        for name, content in (("in", reads), ("out", writes)) if value_range == "values" else ():
            limits = content.value_limits if content is not None else ((0.0, 255.0),)
            for end, numbers in zip(("low", "high"), zip(*limits, strict=True), strict=True):
                self.register_buffer(f"{end}_{name}", torch.tensor(numbers)[:, None, None], persistent=False)
        own = deepcopy(generator).float().cpu()
        self.generator = with_statistics_of_the_image(own) if inference_mode == "paper" else own
        self.value_range = value_range
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        match self.value_range:
            case "normalised":
                return self._translate(image, conditions)
            case "unit":
                return (self._translate((image - 0.5) / 0.5, conditions) + 1) / 2
            case "bytes":
                return to_levels(self._translate(to_float(image), conditions))
            case "values":
                unit = ((image - self.low_in) / (self.high_in - self.low_in)).clamp(0, 1)
                result = (self._translate(unit * 2 - 1, conditions).clamp(-1, 1) + 1) / 2
                return self.low_out + result * (self.high_out - self.low_out)

    def _translate(self, values: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
        translation: Tensor = self.generator(values, *conditions)
        return translation

    def random_batch(self, shape: tuple[int, int, int, int], seed: int) -> tuple[Tensor, ...]:
        """A batch of `random_image` with values of the generator's conditions."""
        image = self.random_image(shape, seed)
        return image, *random_conditions(self.generator, image, seed)

    def random_image(self, shape: tuple[int, int, int, int], seed: int) -> Tensor:
        """A batch of smooth colours and noise in the range of the graph, the same for the same seed."""
        random = torch.Generator().manual_seed(seed)
        coarse = torch.rand(*shape[:2], 4, 4, generator=random)
        smooth = nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
        image = (smooth + 0.2 * (torch.rand(shape, generator=random) - 0.5)).clamp(0, 1)
        match self.value_range:
            case "normalised":
                return image * 2 - 1
            case "unit":
                return image
            case "bytes":
                return (image * 255).round().to(torch.uint8)
            case "values":
                return self.low_in + image * (self.high_in - self.low_in)

    @property
    def scale(self) -> float:
        """How many times wider the range of results is than [-1, 1], at most."""
        return float((self.high_out - self.low_out).max()) / 2 if self.value_range == "values" else 1.0

    @property
    def dtype(self) -> torch.dtype:
        """The type of the images."""
        return torch.uint8 if self.value_range == "bytes" else torch.float32


def with_statistics_of_the_image(network: Generator) -> Generator:
    """Replace batch norm, in place, by instance norm with the same weights: what it computes for one image alone."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d | SyncBatchNorm | nn.SyncBatchNorm):
                norm = nn.InstanceNorm2d(layer.num_features, eps=layer.eps, affine=True)
                norm.weight, norm.bias = layer.weight, layer.bias
                parent.add_module(name, norm)
    return network


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
