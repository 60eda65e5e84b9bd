"""The geometry of preprocessing: resize, crop, flip, exactly as the reference code does it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchlight.errors import DataError

Array = NDArray[np.uint8]
"""H W C."""

Size = tuple[int, int]
"""Height and width in pixels."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

Preprocess = Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]

SIDE_MULTIPLE = 4
"""`none` rounds each side to the nearest multiple of this many pixels."""


@dataclass(frozen=True)
class Placement:
    """What is done to one image, or to both of a pair: resize, cut out the box (left, top, right, bottom), flip."""

    resize: Size
    box: Box
    flip: bool


@dataclass(frozen=True)
class Geometry:
    """How images of any size become images for the networks.

    - `resize_and_crop`: resize to `load_size`, cut out `image_size`
    - `crop`: cut out `image_size`
    - `scale_width`: resize to a width of `load_size`, keeping the aspect but at least `image_size` high
    - `scale_width_and_crop`: the same, then cut out `image_size`
    - `none`: only round each side to a multiple of 4

    Resizing is bicubic with antialiasing (Pillow's). `random` is off for evaluation: images are then resized straight
    to `image_size`, cut at the centre and never flipped.
    """

    mode: Preprocess
    load_size: Size
    image_size: Size
    flip: bool
    random: bool = True

    def for_evaluation(self) -> Geometry:
        return replace(self, load_size=self.image_size, flip=False, random=False)

    def place(self, size: Size, rng: np.random.Generator, key: str) -> Placement:
        """Decide what to do with an image of that size, drawing from `rng` if it is random. `key` is its name.

        Raises:
            DataError: the crop is larger than the image.
        """
        resized = self._resized(size)
        height, width = resized
        box = (0, 0, width, height)
        if "crop" in self.mode:
            crop_height, crop_width = self.image_size
            if crop_height > height or crop_width > width:
                after, remedy = ("", "") if resized == size else (" after resizing", "raise data.load_size, ")
                raise DataError(
                    f"{key} is {width}x{height} pixels{after}, too small for a crop of {crop_width}x{crop_height}: "
                    f"lower data.image_size, {remedy}or use data.preprocess=resize_and_crop"
                )
            left, top = (width - crop_width) // 2, (height - crop_height) // 2
            if self.random:
                left, top = int(rng.integers(width - crop_width + 1)), int(rng.integers(height - crop_height + 1))
            box = (left, top, left + crop_width, top + crop_height)
        flip = self.flip and self.random and bool(rng.random() < 0.5)
        return Placement(resized, box, flip)

    def _resized(self, size: Size) -> Size:
        height, width = size
        match self.mode:
            case "resize_and_crop":
                return self.load_size
            case "scale_width" | "scale_width_and_crop":
                target, floor = self.load_size[1], self.image_size[0]
                if width == target and height >= floor:
                    return size
                return max(int(target * height / width), floor), target
            case "none":
                return _round(height), _round(width)
        return size


def _round(side: int) -> int:
    return max(SIDE_MULTIPLE, round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE)


def resize(image: Array, size: Size) -> Array:
    """An H W C image, resized by Pillow's bicubic with antialiasing; itself if it has that size."""
    channels = image.shape[2]
    if image.shape[:2] == size:
        return image
    if channels not in (1, 3):  # as Pillow would take them for colours with alpha, and mix them
        return np.concatenate([resize(image[:, :, i : i + 1], size) for i in range(channels)], axis=2)
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, channels)


def apply(placement: Placement, image: Array) -> Array:
    """Resize, crop and flip an H W C image; the result may be a view of it."""
    # All of the image is resized: Pillow's `resize(box=...)` places its kernels anew, and some pixels differ.
    left, top, right, bottom = placement.box
    image = resize(image, placement.resize)[top:bottom, left:right]
    return cv2.flip(image, 1).reshape(image.shape) if placement.flip else image  # type: ignore[return-value]
