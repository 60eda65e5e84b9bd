"""What the images of a domain hold: one description for reading, training, translating, exporting and drawing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchlight.data.image_files import Picture
from patchlight.data.images import Array, check_channels, picture_levels, to_levels, to_planes
from patchlight.data.images import to_float as levels_to_float
from patchlight.data.transforms import Size, resize

Levels = NDArray[Any]
"""H W C, prepared for a network: of 8 bits, or floating point in [0, 1]."""


class Content(ABC):
    """What the images of a domain hold, from a decoded picture to what networks read, and from there back to files.

    A picture becomes an array of levels (`levels`), which geometry and memory take; that becomes planes C H W
    (`sample`), of which a batch becomes values of a network (`to_values`). `to_levels` goes the other way.
    """

    value_type: type[np.generic] = np.uint8
    """The type of an array of levels."""
    can_be_made: bool = True
    """Whether a generator can make such images."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Of what a network reads or makes."""

    @property
    def stored(self) -> int:
        """Channels of an array of levels."""
        return self.channels

    @property
    def written(self) -> int:
        """Channels of an image that `to_levels` makes."""
        return self.channels

    @property
    def value_limits(self) -> tuple[tuple[float, float], ...]:
        """For each channel of a network the values of a file that are -1 and 1 to it."""
        return ((0.0, 255.0),) * self.channels

    def describe(self) -> str | None:
        """What the channels are, for people; None of colours."""
        return None

    @abstractmethod
    def key(self, domain: str) -> str:
        """The setting of the data section, as messages about images of domain `a` or `b` give it."""

    @abstractmethod
    def check_header(self, channels: int, mode: str, format: str) -> None:
        """Raise a ValueError unless pictures of such a header can be had; `mode` is Pillow's, or empty of arrays."""

    @abstractmethod
    def levels(self, picture: Picture) -> Levels:
        """A decoded picture as H W `stored`.

        Raises:
            ValueError: it cannot be one of these images.
        """

    def resize(self, image: Levels, size: Size) -> Levels:
        """Levels at another size; themselves if they have it."""
        return resize(image, size)

    def sample(self, image: Levels) -> Tensor:
        """Planes C H W of levels after resize, crop and augmentation: 8 bits, or values in [-1, 1] already."""
        return to_planes(image)

    @abstractmethod
    def to_values(self, planes: Tensor, full: int) -> Tensor:
        """Planes B C H W from 0 to `full`, or of [0, 1] in floating point, as float32 for a network."""

    def to_levels(self, values: Tensor, sources: Tensor, full: int) -> Tensor:
        """What a generator makes of `sources`, both B C H W in [-1, 1], as levels of a file on the same device.

        `full` is white in the file of the source. Of 8 bits they are uint8, of 16 int32, otherwise float32.
        """
        return to_levels(values, full)

    def from_file(self, levels: Levels) -> Levels:
        """Levels of a file, as `to_levels` makes them, as those that are prepared for a network."""
        return levels

    def written_type(self, read: np.dtype[Any]) -> np.dtype[Any]:
        """The type of a file's values that is made of an image whose prepared array has the type `read`."""
        return read if np.issubdtype(read, np.unsignedinteger) else np.dtype(np.uint8)


@dataclass(frozen=True)
class Colours(Content):
    """Images of 8 bits, or brought to 8 bits: gray, RGB, or any number of channels that is the image's own."""

    n_channels: int

    @property
    def channels(self) -> int:
        return self.n_channels

    def key(self, domain: str) -> str:
        return f"channels_{domain}={self.n_channels}"

    def check_header(self, channels: int, mode: str, format: str) -> None:
        check_channels(channels, mode, self.n_channels)

    def levels(self, picture: Picture) -> Array:
        return picture_levels(picture, self.n_channels)

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return levels_to_float(planes, full)
