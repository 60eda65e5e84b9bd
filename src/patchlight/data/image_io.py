"""Reading and writing image files: the two doors at which 8-bit values and [-1, 1] meet."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from patchlight.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)  # fmt: skip

Channels = Literal[1, 3]


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image, by its name alone; hidden files are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_image(path: str | Path, channels: Channels = 3) -> Image.Image:
    """An image file as 8-bit gray (`channels` 1, mode L) or RGB (3), upright by its EXIF orientation.

    Alpha is laid over white, 16-bit values are scaled to 8 bits and floating-point ones are taken to be in [0, 1].
    Gray is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Raises:
        DataError: the file is not there, truncated, no image, or so large that decoding it may exhaust memory.
    """
    with open_image(path) as file:
        file.load()
        ImageOps.exif_transpose(file, in_place=True)
        return _to_mode(file, "L" if channels == 1 else "RGB")


@contextmanager
def open_image(
    path: str | Path, called: str | None = None, advice: str = ": replace or remove it"
) -> Iterator[Image.Image]:
    """An image file, to be decoded within the context. All that goes wrong there becomes one message.

    The message calls the file by its path, or as it is `called`; `advice` is its end.

    Raises:
        DataError: the file is not there, truncated, no image, or so large that decoding it may exhaust memory.
    """
    name = called or str(path)
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            raise OSError("it is no regular file")
        if found.st_size == 0:
            raise OSError("it has no bytes")
        with Image.open(path) as file:
            # Pillow only warns here. Its warning is not turned into an error, because entering `catch_warnings` for
            # every image makes Python show every other once-only warning of the run again and again.
            if Image.MAX_IMAGE_PIXELS is not None and file.width * file.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{file.width}x{file.height} pixels")
            yield file
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is too large to be decoded safely ({error}): scale it down first") from None
    except MemoryError:
        raise DataError(f"{name} needs more memory than there is: scale it down first") from None
    except Exception as error:  # a damaged file makes decoders raise all kinds, struct.error for one
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise DataError(f"{name} cannot be read as an image ({reason or type(error).__name__}){advice}") from None


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray((np.nan_to_num(np.asarray(image)).clip(0, 1) * 255).round().astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    elif image.mode == "LAB":  # from which Pillow has no way to gray
        image = image.convert("RGB")
    return image.convert(mode)


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """H W C, 8 bits, contiguous, not to be written to; gray images have one channel."""
    array = np.asarray(image, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def to_planes(array: NDArray[np.uint8]) -> Tensor:
    """8-bit H W C to 8-bit C H W."""
    planes = np.empty((array.shape[2], *array.shape[:2]), np.uint8)
    # OpenCV takes channels apart several times faster than NumPy.
    cv2.split(array, list(planes))
    return torch.from_numpy(planes)


def to_float(levels: Tensor) -> Tensor:
    """8-bit values of any shape to float32 in [-1, 1]: (value / 255 - 0.5) / 0.5, to the bit, in fewer steps."""
    # By a tensor: some devices multiply by the reciprocal of a number instead, which rounds differently.
    half = torch.full((), 127.5, device=levels.device)
    return levels.to(torch.float32).div_(half).sub_(1.0)


def to_tensor(array: NDArray[np.uint8]) -> Tensor:
    """8-bit H W C to float32 C H W in [-1, 1]."""
    return to_float(to_planes(array))


def to_uint8(image: Tensor) -> NDArray[np.uint8]:
    """C H W in [-1, 1] to 8-bit H W C, truncated like the reference code's images.

    Values outside are clipped; NaN, as a diverged generator makes it, is black.
    """
    values = image.detach().float().cpu().nan_to_num(nan=-1.0).clamp(-1, 1).numpy().transpose(1, 2, 0)
    return np.asarray((values + 1) / 2.0 * 255.0, dtype=np.uint8)


def write_image(path: str | Path, image: Tensor) -> None:
    """Write C H W in [-1, 1] as an 8-bit image file of the type that the name says."""
    array = to_uint8(image)
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path)
