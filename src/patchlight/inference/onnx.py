"""A generator as an ONNX graph for images of any size, and the backends of a translator: PyTorch and ONNX Runtime."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from patchlight.errors import ConfigError
from patchlight.inference.translator import Translator
from patchlight.networks import Generator
from patchlight.system.devices import retain_allocator_memory

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

OPSET = 18
"""The oldest set of operators that PyTorch's exporter writes without translating it down."""

IMAGE, TRANSLATION = "image", "translation"
"""The names of the graph's input and output."""


def require(packages: Sequence[str], wish: str, extra: str) -> None:
    """Raise a ConfigError that says what to install, if one of the packages is missing for a wish such as key=value."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{wish} needs {', '.join(missing)}: pip install 'patchlight[{extra}]'")


def trace(network: nn.Module, example: Sequence[Tensor]) -> ExportedProgram:
    """The graph of a network in evaluation mode for images of any number, height and width; B C H W to B C H W.

    The example is a batch of images, followed by values of the network's conditions. It has at least two images, and
    sides of at least twice what the network needs at least.
    """
    dynamic = torch.export.Dim.DYNAMIC
    image, *further = ({0: dynamic} | ({2: dynamic, 3: dynamic} if tensor.ndim == 4 else {}) for tensor in example)
    shapes = (image, tuple(further)) if further else (image,)
    # Without this, a size of 1 somewhere in the network is taken for a special case, and is the innermost map of a
    # U-Net at the size of its training.
    config: Any = importlib.import_module("torch.fx.experimental._config")
    with config.patch(backed_size_oblivious=True), torch.no_grad():
        return torch.export.export(network.eval(), tuple(example), dynamic_shapes=shapes, strict=False)


def write_onnx(
    program: ExportedProgram,
    file: Path,
    *,
    names: Sequence[str] = (IMAGE,),
    opset: int = OPSET,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a traced network to one file; the weights are in it, and `metadata` as the model's properties.

    `names` are those of its inputs.
    """
    import onnx_ir

    with warnings.catch_warnings():  # advice to the authors of exporters
        warnings.simplefilter("ignore")
        converted = torch.onnx.export(
            program, dynamo=True, verbose=False, opset_version=opset,
            input_names=list(names), output_names=[TRANSLATION],
        )  # fmt: skip
    assert converted is not None
    graph = converted.model.graph
    for value in (*graph.inputs, *graph.outputs):
        assert value.shape is not None
        own = list(value.shape)[1:]
        value.shape = onnx_ir.Shape(["batch", *(own if len(own) != 3 else [own[0], "height", "width"])])
    converted.model.metadata_props.update(metadata or {})
    converted.save(file, external_data=False)


def session(file: Path, *, cuda: bool = False) -> Any:
    """ONNX Runtime with that graph, on as many threads as PyTorch has."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wanted = [*(["CUDAExecutionProvider"] if cuda else []), "CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(file, options, providers=providers)


def example_for(channels: int, generator: Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """A batch by which a generator can be traced: two images of zeros, of different sides, and its conditions."""
    side = max(2 * generator.size_multiple, 64)
    image = torch.zeros(2, channels, side, side + generator.size_multiple, dtype=dtype)
    return [image, *random_conditions(generator, image, seed=0)]


def random_conditions(generator: Generator, images: Tensor, seed: int) -> list[Tensor]:
    """Values of a generator's conditions for a batch of images, the same for the same seed."""
    random = torch.Generator().manual_seed(seed)
    values = []
    for condition in generator.conditions.values():
        shape = (len(images), *condition.shape, *(images.shape[-2:] if condition.spatial else ()))
        if condition.classes is not None:
            values.append(torch.randint(condition.classes, shape, generator=random))
        else:
            values.append(torch.randn(shape, generator=random))
    return values


Backend = Literal["torch", "onnx"]


def speed_up(translator: Translator, backend: Backend = "torch", compile: bool = False) -> None:
    """Let a translator compute by what is fastest on its device, at the price of the last bits.

    On the CPU the process is told to keep the memory that it has had, see `retain_allocator_memory`.

    Raises:
        ConfigError: the backend is not installed, or cannot compute what the translator does.
    """
    if translator.device.type == "cpu":
        retain_allocator_memory()
        translator.keeps_memory = True
    if backend == "onnx":
        if compile:
            raise ConfigError("compile=true is PyTorch's: leave it out with backend=onnx")
        translator.network = OnnxNetwork(translator)
    elif compile:
        translator.network = torch.compile(translator.call)


class OnnxNetwork:
    """A generator as ONNX Runtime computes it: float32 B C H W to float32 B C H W, of any size; its conditions follow.

    Raises:
        ConfigError: ONNX Runtime is not installed; or the generator is used as in training, which it cannot do.
    """

    def __init__(self, translator: Translator) -> None:
        require(PACKAGES, "backend=onnx", "onnx")
        if translator.one_by_one:
            raise ConfigError(
                "backend=onnx has no dropout and no statistics of the image itself, which inference_mode=paper asks "
                "for: use backend=torch or inference_mode=eval"
            )
        if translator.bf16:
            raise ConfigError("backend=onnx computes in float32: give precision=32-true")
        call = translator.call
        example = [tensor.to(translator.device) for tensor in example_for(translator.in_channels, call)]
        self.names = (IMAGE, *call.conditions)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "generator.onnx"
            write_onnx(trace(call, example), file, names=self.names)
            self.session = session(file, cuda=translator.device.type == "cuda")

    def __call__(self, images: Tensor, *values: Tensor) -> Tensor:
        inputs = zip(self.names, (images, *values), strict=True)
        (result,) = self.session.run(None, {name: value.cpu().numpy() for name, value in inputs})
        return torch.from_numpy(result).to(images.device)
