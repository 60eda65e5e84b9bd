"""Where images come from: the interface of a source, the sources that come with the package, and splits of them."""

from patchlight.data.image_files import Header, open_picture, read_header
from patchlight.data.sources.archive import Archive
from patchlight.data.sources.base import (
    Condition,
    Direction,
    FileSet,
    Found,
    ImageRef,
    ImageSet,
    ImageSource,
    MaskedSet,
    Pairing,
    PairSource,
    Record,
    Split,
    StoredSet,
    first_names,
)
from patchlight.data.sources.domains import Domains, cut_validation, domains_of, find_domains, keep_for_validation
from patchlight.data.sources.folders import Folders
from patchlight.data.sources.kinds import kind_of, stored_set
from patchlight.data.sources.layouts import Layout
from patchlight.data.sources.manifest import Manifest
from patchlight.data.sources.shards import Shards
from patchlight.data.sources.single import SinglePair
from patchlight.data.sources.table import Table

__all__ = [
    "Archive",
    "Condition",
    "Direction",
    "Domains",
    "FileSet",
    "Folders",
    "Found",
    "Header",
    "ImageRef",
    "ImageSet",
    "ImageSource",
    "Layout",
    "Manifest",
    "MaskedSet",
    "PairSource",
    "Pairing",
    "Record",
    "Shards",
    "SinglePair",
    "Split",
    "StoredSet",
    "Table",
    "cut_validation",
    "domains_of",
    "find_domains",
    "first_names",
    "keep_for_validation",
    "kind_of",
    "open_picture",
    "read_header",
    "stored_set",
]
