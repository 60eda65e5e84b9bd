"""What computes a generator: PyTorch with packed or compiled networks, or ONNX Runtime."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from patchlight.devices import keep_memory
from patchlight.errors import ConfigError
from patchlight.inference.packed import pack
from patchlight.inference.translator import Translator

Backend = Literal["torch", "onnx"]

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def speed_up(translator: Translator, backend: Backend = "torch", compile: bool = False) -> None:
    """Let a translator compute by what is fastest on its device, at the price of the last bits.

    On the CPU the process is told to keep the memory that it has had, see `keep_memory`.

    Raises:
        ConfigError: the backend is not installed, or cannot compute what the translator does.
    """
    if translator.device.type == "cpu":
        keep_memory()
    if backend == "onnx":
        if compile:
            raise ConfigError("compile=true is PyTorch's: leave it out with backend=onnx")
        translator.network = OnnxNetwork(translator)
    elif compile:
        translator.generator.compile()
    elif translator.device.type == "cpu" and not translator.bf16:
        translator.network = pack(translator.generator)


class OnnxNetwork:
    """A generator as ONNX Runtime computes it: float32 B C H W to float32 B C H W, of any size.

    Raises:
        ConfigError: ONNX Runtime is not installed; or the generator is used as in training, which it cannot do.
    """

    def __init__(self, translator: Translator) -> None:
        missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(f"backend=onnx needs {', '.join(missing)}: pip install 'patchlight[onnx]'")
        if translator.one_by_one:
            raise ConfigError(
                "backend=onnx has no dropout and no statistics of the image itself, which inference_mode=paper asks "
                "for: use backend=torch or inference_mode=eval"
            )
        if translator.bf16:
            raise ConfigError("backend=onnx computes in float32: give precision=32-true")
        import onnxruntime  # type: ignore[import-untyped]

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "generator.onnx"
            _export(translator, file)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            available = onnxruntime.get_available_providers()
            wanted = ["CUDAExecutionProvider"] if translator.device.type == "cuda" else []
            providers = [name for name in [*wanted, "CPUExecutionProvider"] if name in available]
            self.session: Any = onnxruntime.InferenceSession(file, options, providers=providers)

    def __call__(self, images: Tensor) -> Tensor:
        name = self.session.get_inputs()[0].name
        (result,) = self.session.run(None, {name: images.cpu().numpy()})
        return torch.from_numpy(result).to(images.device)


def _export(translator: Translator, file: Path) -> None:
    side = 2 * translator.generator.size_multiple
    example = torch.zeros(2, translator.in_channels, max(side, 64), max(side, 64), device=translator.device)
    dynamic = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():  # advice to the authors of exporters
        warnings.simplefilter("ignore")
        torch.onnx.export(
            translator.generator.eval(),
            (example,),
            file,
            dynamo=True,
            dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
            external_data=False,
            verbose=False,
        )
