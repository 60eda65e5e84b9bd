"""How far a set of generated images is from the set of real ones: Frechet and kernel distance on features."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from patchlight.data.images import to_levels
from patchlight.losses.pretrained import to_rgb
from patchlight.metrics.features import FeatureNetwork

MIN_IMAGES = 2
"""Covariances need as many."""

Keyed = Mapping[str, tuple[str, Tensor]]
"""By file: a key of the image's content, and its features."""


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


@dataclass(frozen=True)
class FeatureDistances:
    """Frechet and kernel distance of two sets of images on the features of a network.

    Every file counts once, and sets are ordered by file, so that any number of ranks finds the same. Features of real
    images are computed once and kept in `cache`. The kernel distance is the mean over `subsets` random subsets of
    `subset_size` images, or of the smaller set if it has fewer, drawn with `seed`.

    Source: Heusel et al. 2017, equation 6; Binkowski et al. 2018, section 4.
    """

    network: FeatureNetwork
    cache: FeatureCache
    subsets: int = 100
    subset_size: int = 100
    seed: int = 0

    @property
    def names(self) -> list[str]:
        """The figures that `compute` gives."""
        return [self.network.frechet, self.network.kernel]

    def of_real(self, images: Tensor, files: list[str]) -> dict[str, tuple[str, Tensor]]:
        """By file: content and features of real images, B C H W in [-1, 1], computed where they are not known."""
        pixels = to_rgb(to_levels(images, nearest=True))
        keys = [content_key(image) for image in pixels.cpu()]
        new = [i for i, key in enumerate(keys) if key not in self.cache]
        if new:
            self.cache.add([keys[i] for i in new], self.network(pixels[new]))
        return {file: (key, self.cache[key]) for file, key in zip(files, keys, strict=True)}

    def of_fake(self, images: Tensor, files: list[str]) -> dict[str, tuple[str, Tensor]]:
        """By the file it is made from: the features of generated images, B C H W in [-1, 1]."""
        features = self.network(to_rgb(to_levels(images, nearest=True))).cpu()
        return {file: ("", row) for file, row in zip(files, features, strict=True)}

    def compute(self, real: Keyed, fake: Keyed) -> dict[str, float]:
        """The two distances, by name; not a number where a set has fewer than two images."""
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance

        if min(len(real), len(fake)) < MIN_IMAGES:
            return dict.fromkeys(self.names, float("nan"))
        a, b = (torch.stack([features for _, (_, features) in sorted(keyed.items())]) for keyed in (real, fake))
        identity = nn.Identity()  # what are features already
        identity.num_features = a.shape[1]  # type: ignore[assignment]
        # One rank has the images of all, and must not wait for the others here.
        frechet = FrechetInceptionDistance(feature=identity, sync_on_compute=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*will save all extracted features in buffer.*")
            kernel = KernelInceptionDistance(
                feature=identity,
                subsets=self.subsets,
                subset_size=min(self.subset_size, len(a), len(b)),
                sync_on_compute=False,
            )
        for metric in (frechet, kernel):
            metric.update(a, real=True)
            metric.update(b, real=False)
        with torch.random.fork_rng(devices=[]):
            # Subsets are drawn on the CPU. `torch.manual_seed` would seed the devices of the training as well.
            torch.default_generator.manual_seed(self.seed)
            values = float(frechet.compute()), float(kernel.compute()[0])
        return dict(zip(self.names, values, strict=True))

    def protocol(self) -> dict[str, Any]:
        """What each figure is, by its name."""
        extractor = {"extractor": self.network.what, "sha256": self.network.sha256, "range": "8-bit images"}
        subsets = f"{self.subsets} subsets of {self.subset_size} images, or all if there are fewer, seed {self.seed}"
        frechet = "Frechet distance of Gaussians; few images make it larger"
        return {
            self.network.frechet: {"what": frechet, **extractor},
            self.network.kernel: {"what": f"unbiased squared MMD, cubic kernel, mean over {subsets}", **extractor},
        }


def default_cache(network: FeatureNetwork, folder: str | Path | None) -> FeatureCache:
    """The cache of a network's features in a folder, or in memory alone."""
    path = None if folder is None else Path(folder) / f"{network.name}-{network.sha256[:12]}.pt"
    return FeatureCache(path)
