"""The pixels of an image of any kind, and their conversion for a network and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from patchlight.data.bands import Bands
from patchlight.data.content import Colours, Content
from patchlight.data.decoding import values_of
from patchlight.data.image_files import upright
from patchlight.data.images import picture_levels, to_8_bits, unit_levels
from patchlight.data.labels import LabelMaps, not_labels
from patchlight.errors import DataError

Array = NDArray[Any]

FULL = 65535
"""White in 16 bits."""

ORIENTATION = 0x0112
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in gray, as in ITU-R BT.601."""


@dataclass(frozen=True)
class Pixels:
    """An upright image: `colour` H W C and `alpha` H W, both of 8 or both of 16 bits; or bands of any type as `colour`.

    The last of 2 and 4 channels is the alpha, until a network reads or writes as many: then it is a channel of theirs.
    `indices` H W are those of the colours, where a palette has them. In a label map they, or gray values, are classes,
    and `instances` H W are the numbers of instances.
    """

    colour: Array
    alpha: Array | None = None
    indices: Array | None = None
    instances: Array | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.colour.shape[0], self.colour.shape[1]

    @property
    def is_16bit(self) -> bool:
        """Whether the values have 16 bits."""
        return self.colour.dtype == np.uint16

    def with_colour(self, colour: Array, read: int, writes: Content) -> Pixels:
        """The result of a network that reads so many channels, with this alpha unless it knows that channel."""
        if isinstance(writes, Bands):
            return Pixels(colour)
        if not {read, colour.shape[2]} <= {1, 3}:
            return from_array(colour)
        return Pixels(colour, self.alpha)

    def array(self) -> Array:
        """H W for gray, else H W C, alpha last."""
        whole = self.colour if self.alpha is None else np.dstack([self.colour, self.alpha])
        return whole[:, :, 0] if whole.shape[2] == 1 else whole

    def for_network(self, channels: int) -> Array:
        """H W `channels`, as images are read for training: alpha is laid over white, colours become gray as luma.

        Any number but 1 and 3 has to be the image's own.

        Raises:
            DataError: it has another number of channels.
        """
        whole = self.colour if self.alpha is None else np.dstack([self.colour, self.alpha])
        if channels not in (1, 3) or self.colour.shape[2] not in (1, 3):
            if whole.shape[2] != channels:
                raise DataError(f"it has {whole.shape[2]} channels where {channels} are wanted")
            return whole
        if not self.is_16bit:
            # By Pillow, whose rounding the training has seen.
            return picture_levels(Image.fromarray(self.array()), channels)
        colour = self.colour.astype(np.float64)
        if self.alpha is not None:
            share = self.alpha[:, :, None] / FULL
            colour = colour * share + FULL * (1 - share)
        if channels == 1 and colour.shape[2] == 3:
            colour = colour @ np.array(LUMA)[:, None]
        colour = colour.round().astype(np.uint16)
        return np.repeat(colour, channels, axis=2) if colour.shape[2] < channels else colour

    def for_content(self, content: Content) -> Array:
        """An image as a network takes it, H W C: see `Bands.levels`, `for_labels` and `for_network`.

        Raises:
            DataError: it is not of the kind that the network reads.
        """
        match content:
            case LabelMaps():
                return self.for_labels(content)
            case Bands():
                try:
                    return content.levels(self.array())
                except ValueError as error:
                    raise DataError(str(error)) from None
        return self.for_network(content.stored)

    def for_labels(self, labels: LabelMaps) -> Array:
        """A label map as 8 bits, H W 1 of classes or, with boundaries of instances, H W 2.

        Raises:
            DataError: it has colours without indices, a value out of range, or no instances where there should be some.
        """
        if self.indices is None and self.colour.shape[2] != 1:
            raise DataError(not_labels("RGB"))
        classes = self.colour[:, :, 0] if self.indices is None else self.indices
        instances = self.alpha if self.instances is None else self.instances
        if labels.instances and instances is None:
            raise DataError("the model reads instances beside the classes: give their numbers, too")
        parts = [classes] if instances is None else [classes, instances]
        try:
            return labels.outlined(labels.levels(np.dstack(parts)))
        except ValueError as error:
            raise DataError(str(error)) from None


def from_array(array: Array) -> Pixels:
    """The pixels of H W or H W C: gray, gray and alpha, RGB, RGBA or more channels, of uint8 or uint16.

    Raises:
        DataError: another shape or type.
    """
    whole = array[:, :, None] if array.ndim == 2 else array
    if whole.ndim != 3 or array.dtype not in (np.uint8, np.uint16) or not array.size:
        raise DataError(
            f"an array of shape {array.shape} and type {array.dtype} is no image: give H W or H W C with 1 (gray), "
            f"2 (gray and alpha), 3 (RGB), 4 (RGBA) or more channels of uint8 or uint16"
        )
    if whole.shape[2] in (2, 4):
        return Pixels(whole[:, :, :-1], whole[:, :, -1])
    return Pixels(whole)


def with_values(array: Array) -> Pixels:
    """The pixels of H W or H W C whose channels are bands, of any type."""
    return Pixels(array[:, :, None] if array.ndim == 2 else array)


def pixels_with_values(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image whose channels are bands, upright.

    Raises:
        DataError: it has a palette, or another mode without values.
    """
    try:
        return with_values(values_of(image))
    except ValueError as error:
        raise DataError(str(error)) from None


def from_image(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image, upright by its EXIF orientation; of several pages or frames, the present one."""
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        array: Array = np.asarray(image).astype(np.int64).clip(0, FULL).astype(np.uint16)
    elif mode == "F":
        array = unit_levels(image, FULL).astype(np.uint16)
    elif mode in ("L", "LA", "RGB", "RGBA") and (mode[-1] == "A" or not image.has_transparency_data):
        array = np.asarray(image)
    else:
        gray = mode in ("1", "L", "La")
        image_mode = ("LA" if gray else "RGBA") if image.has_transparency_data else ("L" if gray else "RGB")
        array = np.asarray(image.convert(image_mode))
    orientation = image.getexif().get(ORIENTATION, 1)
    pixels = from_array(upright(array, orientation))
    return replace(pixels, indices=upright(np.asarray(image, np.uint8), orientation)) if mode in ("P", "1") else pixels


def to_image(pixels: Pixels) -> Image.Image:
    """A Pillow image; 16 bits become 8 unless it is gray without alpha, for which Pillow has a mode of 16."""
    array = pixels.array()
    if pixels.colour.shape[2] > 3 or (pixels.colour.dtype == np.float32 and array.ndim == 3):
        raise DataError(f"{pixels.colour.shape[2]} channels are no Pillow image: give an array")
    if pixels.is_16bit and array.ndim == 3:
        array = to_8_bits(array)
    return Image.fromarray(array)


def to_values(arrays: list[Array], device: torch.device, content: Content | None = None) -> Tensor:
    """Arrays H W C of equal shape and type, as `Pixels.for_content` makes them, as float32 B C H W for a network.

    They are converted on the device. Without `content` they are images of 8 or 16 bits.
    """
    stacked = np.stack(arrays)
    content = content or Colours(stacked.shape[3])
    # PyTorch has no arithmetic for unsigned 16-bit values.
    batch = torch.from_numpy(stacked.astype(np.int32) if stacked.dtype == np.uint16 else stacked)
    return content.to_values(batch.to(device).permute(0, 3, 1, 2).contiguous(), white(stacked))


def white(array: Array) -> int:
    """The highest level of an array: that of its type, or of 8 bits in floating point."""
    return 65535 if array.dtype == np.uint16 else 255


def to_arrays(levels: Tensor) -> list[Array]:
    """Levels B C H W, as `Content.to_levels` makes them, as arrays H W C; waits for the device."""
    arrays = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return list(arrays.astype(np.uint16) if levels.dtype == torch.int32 else arrays)
