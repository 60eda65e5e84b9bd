"""Where images come from: the interface of a source, and folders of image files."""

from patchlight.data.images import open_picture
from patchlight.data.sources.folders import Files, Folders, SideBySide, read_header
from patchlight.data.sources.source import Header, ImageSet, ImageSource, PairSource

__all__ = [
    "Files", "Folders", "Header", "ImageSet", "ImageSource", "PairSource", "SideBySide", "open_picture", "read_header",
]  # fmt: skip
