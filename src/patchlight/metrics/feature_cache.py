"""Features of real images, which are computed once."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


class FeatureCache:
    """Features by the content of the image they belong to, in memory and in a file.

    The content is that of the prepared image, so that another size, crop or file is another entry and nothing is ever
    out of date. A damaged file is begun anew. Several processes may share the file: it is written in one piece, with
    what the others have added since.
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
        """Write out what is new; without a file nothing is done.

        Raises:
            OSError: the file cannot be written.
        """
        if self.path is None or not self._added:
            return
        self._features = _read(self.path) | self._features
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        content = {"keys": list(self._features), "features": torch.stack(list(self._features.values()))}
        torch.save(content, temporary)
        temporary.replace(self.path)
        self._added = False


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
