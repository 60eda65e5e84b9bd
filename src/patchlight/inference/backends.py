"""What computes a generator: PyTorch, compiled or as it is, or ONNX Runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from patchlight.errors import ConfigError
from patchlight.inference.onnx import IMAGE, PACKAGES, example_for, require, session, trace, write_onnx
from patchlight.inference.translator import Translator
from patchlight.system.devices import retain_allocator_memory

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
