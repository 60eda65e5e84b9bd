"""Preprocessing (resize, crop, flip, exactly as the reference code does it), and augmentation by Albumentations."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchlight.data.images import MAX_CV2_CHANNELS, Array
from patchlight.errors import DataError

Size = tuple[int, int]
"""Height and width in pixels."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

Preprocess = Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]

SIDE_MULTIPLE = 4
"""`none` rounds each side to the nearest multiple of this many pixels."""


def as_size(name: str, value: int | list[int]) -> Size:
    """Height and width of a number of pixels, or of two."""
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
        raise DataError(f"data.{name}={value} should be a positive number of pixels, or [height, width]")
    return sides[0], sides[1]


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


def resize(image: NDArray[Any], size: Size) -> NDArray[Any]:
    """An H W C image, 8 bits or float32, resized by Pillow's bicubic with antialiasing; itself if it has that size."""
    channels = image.shape[2]
    if image.shape[:2] == size:
        return image
    # As Pillow would take them for colours with alpha, and mix them, or has no colours in floating point.
    if channels not in (1, 3) or (channels == 3 and image.dtype != np.uint8):
        return np.concatenate([resize(image[:, :, i : i + 1], size) for i in range(channels)], axis=2)
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, channels)


def apply(
    placement: Placement, image: NDArray[Any], resize: Callable[[NDArray[Any], Size], NDArray[Any]] = resize
) -> NDArray[Any]:
    """Resize, crop and flip an H W C image; the result may be a view of it."""
    # All of the image is resized: Pillow's `resize(box=...)` places its kernels anew, and some pixels differ.
    left, top, right, bottom = placement.box
    image = resize(image, placement.resize)[top:bottom, left:right]
    if not placement.flip:
        return image
    if image.shape[2] > MAX_CV2_CHANNELS:
        return np.ascontiguousarray(image[:, ::-1])
    return cv2.flip(image, 1).reshape(image.shape)


class Augment:
    """Albumentations transforms after the preprocessing, on H W C arrays of 8 bits or of float32 in [0, 1].

    `geometry` moves both images of a pair alike (unpaired images each by themselves); `colour_a` and `colour_b` change
    only the domain they name, as the files have it. In label maps `geometry` takes each value from its nearest
    neighbour. `Compose` ignores global seeds and gives all worker processes the same draws, so it is seeded anew for
    every sample.
    """

    def __init__(
        self,
        geometry: Sequence[Any] | None = None,
        colour_a: Sequence[Any] | None = None,
        colour_b: Sequence[Any] | None = None,
    ) -> None:
        chosen = {"geometry": geometry, "colour_a": colour_a, "colour_b": colour_b}
        self._pipelines = {key: _compose(transforms) for key, transforms in chosen.items() if transforms}

    @property
    def changes_colours(self) -> bool:
        """Whether it does more than to move pixels."""
        return any(key != "geometry" for key in self._pipelines)

    def __call__(
        self, a: Array, b: Array, rng: np.random.Generator, *, paired: bool, labels: tuple[bool, bool] = (False, False),
        valid: Array | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """Both images of a sample, changed; for pairs they have to have the same size. `labels` says which are labels.

        A pair may have a mask of its `valid` pixels, which moves with it and comes third.

        Raises:
            DataError: a transform failed, changed the size of an image, or made it something other than 8-bit values.
        """
        for letter, is_labels in zip("ab", labels, strict=True):
            if is_labels and f"colour_{letter}" in self._pipelines:
                raise DataError(
                    f"data.augment.colour_{letter} changes colours, and domain {letter.upper()} is label maps"
                )
        if paired:
            names = ("mask", "image") if labels[0] else ("image", "mask" if labels[1] else "partner")
            images = dict(zip(names, (a, b), strict=True))
            new_a, new_b, *rest = self._run("geometry", rng, images | ({} if valid is None else {"valid": valid}))
        else:
            rest = []
            # A mask is not taken alone: of its image nothing is used.
            new_a = self._run("geometry", rng, {"image": a, "mask": a} if labels[0] else {"image": a})[-1]
            new_b = self._run("geometry", rng, {"image": b, "mask": b} if labels[1] else {"image": b})[-1]
        (new_a,), (new_b,) = self._run("colour_a", rng, {"image": new_a}), self._run("colour_b", rng, {"image": new_b})
        for name, before, after in (("A", a, new_a), ("B", b, new_b)):
            if before.shape != after.shape:
                raise DataError(
                    f"data.augment changes images of domain {name} from {before.shape} to {after.shape} (height, "
                    f"width, channels): use transforms that keep the size, and data.preprocess for cropping"
                )
            if after.dtype != before.dtype:
                come = "as 8-bit values" if before.dtype == np.uint8 else "in [0, 1]"
                raise DataError(
                    f"data.augment turns images of domain {name} into {after.dtype}: leave transforms such as "
                    f"Normalize and ToFloat out, images come {come} and are scaled to [-1, 1] afterwards"
                )
        return new_a, new_b, *rest

    def _run(self, key: str, rng: np.random.Generator, images: Mapping[str, Array]) -> tuple[Array, ...]:
        """The images, all changed by one draw; a `mask` is a label map."""
        if key not in self._pipelines:
            return tuple(images.values())
        pipeline = self._pipelines[key]
        pipeline.set_random_seed(int(rng.integers(2**31)))
        try:
            changed = pipeline(**images)
        except Exception as error:  # transforms raise all kinds where they cannot take an image
            reason = " ".join(str(error).split()) or type(error).__name__
            shapes = " and ".join(str(image.shape) for image in images.values())
            raise DataError(
                f"data.augment.{key} cannot take images of {shapes} (height, width, channels): {reason}"
            ) from error
        return tuple(changed[name] for name in images)


def _compose(transforms: Sequence[Any]) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations.Compose(list(transforms), additional_targets={"partner": "image", "valid": "mask"})
