"""Features of real images, which are computed once."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor


class FeatureCache:
    """Features by the content of the image they belong to, in memory and in a file.

    The content is that of the prepared image, so that another size, crop or file is another entry and nothing is ever
    out of date. A damaged file is begun anew. Several processes may share the file: it is written in one piece, with
    what the others have added since. Where it cannot be written, the features are kept in memory alone, with one
    warning: they only save time.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._features = _read(path)
        self._added = False

    def __contains__(self, key: str) -> bool:
        return key in self._features

    def __getitem__(self, key: str) -> Tensor:
        return self._features[key]

    def __len__(self) -> int:
        return len(self._features)

    def add(self, keys: Sequence[str], features: Tensor) -> None:
        """Keep features, B D, under the keys of their images."""
        self._features |= dict(zip(keys, features.detach().cpu(), strict=True))
        self._added = True

    def write(self) -> None:
        """Write out what is new; without a file nothing is done. Warns if the file cannot be written."""
        if self.path is None or not self._added:
            return
        self._features = _read(self.path) | self._features
        content = {"keys": list(self._features), "features": torch.stack(list(self._features.values()))}
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # By way of memory: PyTorch hides what the disk has to say.
            stream = io.BytesIO()
            torch.save(content, stream)
            temporary.write_bytes(stream.getbuffer())
            temporary.replace(self.path)
            self._added = False
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            warnings.warn(
                f"{self.path} cannot be written ({error.strerror}): features of real images are not kept for the next "
                f"run, which computes them again",
                stacklevel=2,
            )
            self.path = None


def content_key(image: Tensor) -> str:
    """The hash of an image, C H W, uint8, on the CPU."""
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(image.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path | None) -> dict[str, Tensor]:
    if path is None or not path.is_file():
        return {}
    try:
        content = torch.load(path, weights_only=True)
        return dict(zip(content["keys"], content["features"].unbind(), strict=True))
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, AttributeError, TypeError, pickle.UnpicklingError):
        return {}
