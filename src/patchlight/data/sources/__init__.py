"""Where images come from: the interface of a source, the sources that come with the package, and splits of them."""

from patchlight.data.images import Header, open_picture, read_header
from patchlight.data.sources.base import (
    Found,
    ImageRef,
    ImageSet,
    ImageSource,
    Pairing,
    PairSource,
    Record,
    Split,
    first_names,
)
from patchlight.data.sources.domains import Domains, cut_validation, domains_of, find_domains, keep_for_validation
from patchlight.data.sources.folders import Folders

__all__ = [
    "Domains",
    "Folders",
    "Found",
    "Header",
    "ImageRef",
    "ImageSet",
    "ImageSource",
    "PairSource",
    "Pairing",
    "Record",
    "Split",
    "cut_validation",
    "domains_of",
    "find_domains",
    "first_names",
    "keep_for_validation",
    "open_picture",
    "read_header",
]
