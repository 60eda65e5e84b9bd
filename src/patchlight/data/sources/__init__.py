"""Where images come from: the interface of a source, and folders of image files."""

from patchlight.data.images import decode_image
from patchlight.data.sources.folders import Files, Folders, SideBySide, read_header
from patchlight.data.sources.source import Header, ImageSet, ImageSource, PairSource

__all__ = [
    "Files", "Folders", "Header", "ImageSet", "ImageSource", "PairSource", "SideBySide", "decode_image", "read_header",
]  # fmt: skip
