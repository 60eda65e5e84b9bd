"""Label maps: images of class indices, with instances beside them, as one-hot channels and boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from patchlight.data.content import Content
from patchlight.data.image_files import Picture
from patchlight.data.images import to_float, to_planes
from patchlight.errors import DataError

MAX_CLASSES = 256
"""Class indices are kept in 8 bits."""

MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes with one number for each pixel; that of a palette is the colour's index."""

Array = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelMaps(Content):
    """What label maps hold: a class index from 0 to `n_classes` - 1 for each pixel and, with `instances`, a number too.

    They go through geometry, nearest-neighbour, and memory as 8-bit arrays (`levels`): H W 1 of classes, or H W 3 with
    both bytes of the instance's number. Then `outlined` turns those into its boundary, H W 2, and `to_channels` makes
    what a network reads.
    """

    n_classes: int
    instances: bool = False

    can_be_made = False

    @property
    def channels(self) -> int:
        return self.n_classes + self.instances

    @property
    def value_limits(self) -> tuple[tuple[float, float], ...]:
        return ((-1.0, 1.0),) * self.channels

    def describe(self) -> str:
        boundary = ", then 1 at the boundaries of instances" if self.instances else ""
        return f"{self.n_classes} channels, 1 where a pixel has the class, else 0{boundary}"

    @property
    def stored(self) -> int:
        return 3 if self.instances else 1

    def key(self, domain: str) -> str:
        return f"n_classes={self.n_classes}"

    def check_header(self, channels: int, mode: str, format: str) -> None:
        if format == "JPEG":
            raise ValueError("it is a JPEG, which changes the class indices: use PNG")
        if mode and mode not in MODES:
            raise ValueError(not_labels(mode))
        if channels != 1 + self.instances:
            raise ValueError(self._wrong_channels(channels))

    def levels(self, picture: Picture) -> Array:
        """A Pillow image of class indices, or an array of whole numbers H W or H W 2, with instances, as 8 bits.

        Raises:
            ValueError: another kind of image, or a value out of range, which is named.
        """
        values = numbers(picture)
        if values.shape[2] != 1 + self.instances:
            raise ValueError(self._wrong_channels(values.shape[2]))
        classes, instances = values[:, :, :1], values[:, :, 1:]
        for wrong in (int(classes.min()), int(classes.max())):
            if not 0 <= wrong < self.n_classes:
                raise ValueError(
                    f"it holds the class {wrong}, and data.n_classes={self.n_classes} allows 0 to {self.n_classes - 1}"
                )
        if self.instances and not 0 <= int(instances.min()) <= int(instances.max()) <= 65535:
            raise ValueError(f"it holds the instances {instances.min()} to {instances.max()}: 0 to 65535 are allowed")
        parts = [classes, instances >> 8, instances & 255] if self.instances else [classes]
        return np.concatenate(parts, axis=2).astype(np.uint8)

    def _wrong_channels(self, channels: int) -> str:
        wanted = "2, the class and the instance" if self.instances else "1, the class"
        return f"it has {channels} channel{'s' * (channels > 1)}, and a label map has {wanted}"

    def resize(self, image: Array, size: tuple[int, int]) -> Array:
        return resize_nearest(image, size)

    def sample(self, image: Array) -> Tensor:
        return to_planes(self.outlined(image))

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return self.to_channels(planes)

    def outlined(self, levels: Array) -> Array:
        """Classes and, in place of the instances' numbers, 1 where a neighbour has another number.

        Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
        section 3.3, the instance boundary map.
        """
        if not self.instances:
            return levels
        numbered = levels[:, :, 1].astype(np.uint16) * 256 + levels[:, :, 2]
        differs = np.zeros(numbered.shape, np.uint8)
        across, down = numbered[:, 1:] != numbered[:, :-1], numbered[1:] != numbered[:-1]
        differs[:, 1:] |= across
        differs[:, :-1] |= across
        differs[1:] |= down
        differs[:-1] |= down
        return np.dstack([levels[:, :, 0], differs])

    def to_channels(self, outlined: Tensor) -> Tensor:
        """8-bit B 1 H W or, with boundaries, B 2 H W to float32 B `channels` H W of 0 and 1."""
        size, _, height, width = outlined.shape
        one_hot = torch.zeros(size, self.n_classes, height, width, device=outlined.device)
        one_hot.scatter_(1, outlined[:, :1].long(), 1.0)
        return torch.cat([one_hot, outlined[:, 1:].float()], dim=1) if self.instances else one_hot


def label_maps(n_classes: int | None, instances: bool) -> LabelMaps | None:
    """The label maps that two keys of the data section describe; None of images.

    Raises:
        DataError: a value out of range.
    """
    if n_classes is None:
        if instances:
            raise DataError("data.instances=true is of label maps: give data.n_classes, too")
        return None
    if isinstance(n_classes, bool) or not isinstance(n_classes, int) or not 2 <= n_classes <= MAX_CLASSES:
        raise DataError(f"data.n_classes={n_classes} should be an integer from 2 to {MAX_CLASSES}, or null")
    return LabelMaps(n_classes, instances)


def numbers(picture: Picture) -> NDArray[Any]:
    """The whole numbers of a picture, H W C: those of a palette are indices of its colours.

    Raises:
        ValueError: it is no image of whole numbers.
    """
    if isinstance(picture, Image.Image):
        if picture.mode not in MODES:
            raise ValueError(not_labels(picture.mode))
        return np.asarray(picture).astype(np.int64)[:, :, None]
    array = picture[:, :, None] if picture.ndim == 2 else picture
    if array.ndim != 3 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"an array of shape {picture.shape} and type {picture.dtype} is no label map: H W of integers")
    return array.astype(np.int64)


def not_labels(mode: str) -> str:
    """What to say of an image of colours in place of a label map."""
    return f"it is {mode}, and a label map (data.n_classes) is gray or has a palette, of which the index is the class"


def class_colours(n_classes: int) -> Array:
    """The colours in which classes are drawn, n 3: the first is black, as in PASCAL VOC.

    Of the number of a class each three bits go to the highest free ones of red, green and blue.
    """
    colours = np.zeros((n_classes, 3), np.uint8)
    for i in range(n_classes):
        for bit in range(8):
            for channel in range(3):
                colours[i, channel] |= ((i >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours


def drawable(image: Tensor) -> Tensor:
    """An image C H W as it is drawn: a label map, all of 0 and 1 with one class a pixel, in colours; others as is.

    The colours are those of PASCAL VOC, boundaries of instances white. No image of levels, of 8 or 16 bits, holds a 0
    once it is in [-1, 1], so that none is taken for a label map.
    """
    if len(image) < 2 or not bool(((image == 0) | (image == 1)).all()):
        return image
    total = image.sum(dim=0)
    if bool((total == 1).all()):
        classes, boundary = image, None
    elif bool((total - image[-1] == 1).all()):
        classes, boundary = image[:-1], image[-1] > 0
    else:
        return image
    colours = to_float(torch.from_numpy(class_colours(len(classes)))).to(image)
    coloured = colours[classes.argmax(dim=0)].permute(2, 0, 1)
    return coloured if boundary is None else torch.where(boundary, torch.ones_like(coloured), coloured)


def resize_nearest(image: Array, size: tuple[int, int]) -> Array:
    """An H W C array of `levels` at another size, in which every value is one of its own."""
    if image.shape[:2] == size:
        return image
    resized = [
        Image.fromarray(plane).resize(size[::-1], Image.Resampling.NEAREST) for plane in np.moveaxis(image, 2, 0)
    ]
    return np.dstack([np.asarray(plane) for plane in resized])
