"""Pictures to 8-bit levels, and the two doors at which those levels and [-1, 1] meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from patchlight.data.image_files import Picture, open_picture
from patchlight.system.image_file import one_message

Array = NDArray[np.uint8]
"""H W C."""

NATIVE = {2: "LA", 4: "RGBA"}
"""Pillow's mode of images of so many channels, of which the last is data where as many are wanted."""

PALETTES = ("P", "PA")
"""Modes whose images may turn out to be RGBA."""

MAX_CV2_CHANNELS = 32
"""Images of more channels are left to NumPy: OpenCV does not take very many."""


def read_image(path: str | Path, channels: int = 3) -> Image.Image:
    """An image file as 8-bit gray (`channels` 1, mode L) or RGB (3), upright; see `picture_levels`.

    Raises:
        DataError: the file is not there, truncated, no image, holds NaN or infinity, or is so large that decoding it
            may exhaust memory.
    """
    with one_message(str(path)):
        return _to_mode(open_picture(path), "L" if channels == 1 else "RGB")


def picture_levels(picture: Picture, channels: int) -> Array:
    """8-bit H W C with as many channels as are wanted, not to be written to.

    Any Pillow image becomes gray or RGB: alpha is laid over white, gray is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
    Gray arrays become RGB and RGB arrays gray. Any other number of channels has to be the picture's own: where four are
    wanted of an RGBA image, alpha is data. 16-bit values are scaled to 8 bits and floating-point ones are taken to be
    in [0, 1].

    Raises:
        ValueError: another number of channels, another type of values, no pixels, NaN or infinity.
    """
    if isinstance(picture, Image.Image):
        if channels in (1, 3):
            return to_array(_to_mode(picture, "L" if channels == 1 else "RGB"))
        if picture.mode in PALETTES:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        check_channels(len(picture.getbands()), picture.mode, channels)
        return to_array(picture)
    array = picture[:, :, None] if picture.ndim == 2 else picture
    if array.ndim != 3 or not array.size:
        raise ValueError(f"an array of shape {picture.shape} is no image: it should be H W or H W C")
    check_channels(array.shape[2], "", channels)
    levels = _array_levels(array)
    if levels.shape[2] == channels:
        return levels
    if channels == 3:
        return np.repeat(levels, 3, axis=2)
    return to_array(Image.fromarray(np.ascontiguousarray(levels)).convert("L"))


def _array_levels(array: NDArray[Any]) -> Array:
    if array.dtype in (np.uint8, np.uint16):
        return to_8_bits(array)
    if np.issubdtype(array.dtype, np.floating):
        return unit_levels(array, 255).astype(np.uint8)
    raise ValueError(f"its values are {array.dtype}: they should be uint8, uint16, or floating point in [0, 1]")


def check_channels(own: int, mode: str, wanted: int) -> None:
    """Raise a ValueError unless a picture can be had with the channels that are wanted.

    `mode` is that of a Pillow image, and empty for an array.
    """
    if mode:
        fits = wanted in (1, 3) or mode == NATIVE.get(wanted) or (wanted == 4 and mode in PALETTES)
    else:
        fits = own == wanted or {own, wanted} == {1, 3}
    if not fits:
        kind, needed = (f" ({mode})", f" ({NATIVE[wanted]})" if wanted in NATIVE else "") if mode else ("", "")
        raise ValueError(f"it has {own} channel{'s' * (own > 1)}{kind} where {wanted}{needed} are wanted")


def unit_levels(image: Picture, full: int) -> NDArray[np.float32]:
    """The nearest levels from 0 to `full` of a floating-point image, whose values are taken to be in [0, 1].

    Raises:
        ValueError: some are NaN or infinite.
    """
    values = np.asarray(image)
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise ValueError(f"{wrong} of its {values.size} values are NaN or infinite")
    return np.asarray((values.clip(0, 1) * full).round())


def to_8_bits(levels: NDArray[Any]) -> Array:
    """Levels of 8 or 16 bits as 8-bit ones: the same, or divided by 257 and truncated."""
    return levels if levels.dtype == np.uint8 else (levels // 257).astype(np.uint8)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray(to_8_bits(np.asarray(image).astype(np.int64).clip(0, 65535)))
    elif image.mode == "F":
        image = Image.fromarray(unit_levels(image, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    elif image.mode == "LAB":  # from which Pillow has no way to gray
        image = image.convert("RGB")
    return image.convert(mode)


def to_array(image: Image.Image) -> Array:
    """H W C, 8 bits, contiguous, not to be written to, of an image of 8-bit bands; gray images have one channel."""
    array = np.asarray(image, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def to_planes(array: NDArray[Any]) -> Tensor:
    """H W C to C H W of the same type, 8 bits or floating point."""
    planes = np.empty((array.shape[2], *array.shape[:2]), array.dtype)
    if array.shape[2] > MAX_CV2_CHANNELS:
        planes[:] = np.moveaxis(array, 2, 0)
    else:  # OpenCV takes channels apart several times faster than NumPy, up to a number
        cv2.split(array, list(planes))
    return torch.from_numpy(planes)


def to_float(levels: Tensor, full: int = 255) -> Tensor:
    """The door in: levels from 0 to `full`, of any shape, as float32 in [-1, 1].

    That is (level / full - 0.5) / 0.5, to the bit, in fewer steps.
    """
    # By a tensor: some devices multiply by the reciprocal of a number instead, which rounds differently.
    half = torch.full((), full / 2, device=levels.device)
    return levels.to(torch.float32).div_(half).sub_(1.0)


def to_levels(values: Tensor, full: int = 255, *, nearest: bool = False) -> Tensor:
    """The door out: values in [-1, 1], of any shape, as levels from 0 to `full` on the same device.

    8-bit levels (uint8) are truncated, as the reference code does with its images; `nearest` rounds them. 16-bit ones
    (`full` 65535, int32) are rounded, or a file of 16 bits would not come back as it was. Values outside are clipped;
    NaN, as a diverged generator makes it, is black.
    """
    levels = (values.detach().float().nan_to_num(nan=-1.0).clamp(-1, 1) + 1) / 2 * full
    if full == 255:
        return (levels.round() if nearest else levels).to(torch.uint8)
    return levels.round().to(torch.int32)


def to_uint8(image: Tensor) -> Array:
    """C H W in [-1, 1] to 8-bit H W C, by `to_levels`."""
    return np.asarray(to_levels(image).cpu().numpy().transpose(1, 2, 0))


def write_image(path: str | Path, image: Tensor) -> None:
    """Write C H W in [-1, 1] as an 8-bit image file of the type that the name says.

    The fourth of four channels is the file's alpha; of five and more the first three are written.
    """
    array = to_uint8(image[:3] if len(image) > 4 else image)
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path)
