"""Which files are to be translated, and where the results go."""

from __future__ import annotations

import glob
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from patchlight.data.bands import Bands
from patchlight.data.content import Content
from patchlight.data.decoding import Decoding
from patchlight.data.image_files import IMAGE_SUFFIXES
from patchlight.data.sources.layouts import refuse_folder
from patchlight.errors import ConfigError, DataError
from patchlight.inference.files import FORMATS, Format, announced_pixels
from patchlight.inference.packed import Packed, find_packed
from patchlight.networks import map_suffixes

PATCH_MAP = "_patchmap"
"""The ending of the name of a patch map's picture, after the name of its image."""

SHOWN = 5
"""Names that a message lists before it only counts."""


@dataclass(frozen=True)
class Job:
    """One file to be translated and the file that it becomes, with pictures of its patch maps if they are wanted."""

    source: Path
    target: Path
    patch_maps: tuple[Path, ...] = ()
    instances: Path | None = None
    """The numbers of the instances of a label map."""
    packed: Packed | None = None
    """Where the image is, if `source` is no file."""

    def file(self) -> AbstractContextManager[Path]:
        """The file to read, for as long as the context lasts."""
        return nullcontext(self.source) if self.packed is None else self.packed.as_file(self.source.name)

    def pixels(self) -> int:
        """Pixels that it says it has, without decoding it."""
        return announced_pixels(self.source) if self.packed is None else self.packed.pixels()

    @property
    def results(self) -> tuple[Path, ...]:
        """All files that it makes."""
        return (self.target, *self.patch_maps)


def find_jobs(
    given: str,
    output: Path,
    format: Format | None,
    overwrite: bool,
    n_maps: int = 0,
    instances: str | None = None,
    domain: Literal["A", "B"] = "A",
    reads: Content | None = None,
    writes: Content | None = None,
) -> list[Job]:
    """The images that a file, folder or glob pattern stands for, with their places below `output`, in order of name.

    An archive stands for all images in it, and a manifest or a table for those of a domain.

    Sub-folders and names are kept: those below the folder, or below the part of a pattern before its first wildcard.
    Without `format` a file stays of its kind, or becomes PNG where results are not written as that. Each has pictures
    of `n_maps` patch maps. `instances` is the folder of files with the numbers of instances, under the same names.
    `reads` and `writes` are what the generator does: files of NumPy are images where it reads bands, and without
    `format` results that PNG cannot hold become TIFF.

    Raises:
        DataError: there is no image, or no file of its instances.
        ConfigError: two files would become one, or a result is there already and is not to be overwritten.
    """
    decoding = Decoding(values=reads is None or isinstance(reads, Bands))
    root, found = find_packed(Path(given).expanduser(), domain, decoding) or _find(given, output, decoding)
    sources = [source for source, _ in found]
    targets = [output / _name(source.relative_to(root), format, writes) for source in sources]
    suffixes = map_suffixes(n_maps) if n_maps else []
    jobs = [
        Job(
            source,
            target,
            tuple(target.with_name(f"{target.stem}{PATCH_MAP}{s}.png") for s in suffixes),
            None if instances is None else _instances_of(source.relative_to(root), Path(instances).expanduser()),
            packed,
        )
        for (source, packed), target in zip(found, targets, strict=True)
    ]
    by_result: dict[Path, Job] = {}
    originals = {_identity(source) for source in sources}
    for job in jobs:
        for result in job.results:
            other = by_result.setdefault(result, job)
            if other is not job:
                raise ConfigError(f"{other.source} and {job.source} would both become {result}: rename one")
            if _identity(result) in originals:
                raise ConfigError(f"output={output} would overwrite the input {result}: choose another folder")
    there = [result for result in by_result if os.path.lexists(result)]
    if there and not overwrite:
        names = ", ".join(map(str, there[:SHOWN])) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")
        raise ConfigError(
            f"output={output} holds {len(there)} of the results already ({names}): choose another folder, or give "
            f"overwrite=true"
        )
    return jobs


def _find(given: str, output: Path, decoding: Decoding) -> tuple[Path, list[tuple[Path, None]]]:
    """The folder that names are relative to, and the images."""
    root, paths = _find_files(given, output, decoding)
    return root, [(path, None) for path in paths]


def _find_files(given: str, output: Path, decoding: Decoding) -> tuple[Path, list[Path]]:
    path = Path(given).expanduser()
    if os.path.isdir(path):
        found = _below(path, output, decoding)
        if not found:
            raise DataError(f"input={given} has no images: files that end with {', '.join(sorted(decoding.suffixes))}")
        return path, found
    if os.path.lexists(path):
        return path.parent, [path]
    if not glob.has_magic(str(path)):
        raise DataError(f"input={given} is not there: give a file, a folder, or a pattern such as 'DIR/*.png'")
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts[:-1]))
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    found = [match for match in matches if decoding.takes(match) and not os.path.isdir(match)]
    if not found:
        raise DataError(f"input={given} matches no images: files that end with {', '.join(sorted(decoding.suffixes))}")
    return fixed, found


def _instances_of(name: Path, folder: Path) -> Path:
    for suffix in sorted(IMAGE_SUFFIXES):
        path = (folder / name).with_suffix(suffix)
        if path.is_file():
            return path
    raise DataError(f"instances={folder} has no image {name.with_suffix('')} for {name}")


def _below(folder: Path, output: Path, decoding: Decoding) -> list[Path]:
    """The images in a folder and its sub-folders, without hidden ones and without earlier results.

    Links to folders are not followed, which could lead in circles.
    """
    results = os.path.realpath(output)  # `Path.resolve` raises an error of its own where links go in circles
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse_folder):
        folders[:] = [f for f in folders if not f.startswith(".") and os.path.realpath(Path(place, f)) != results]
        found += [Path(place, name) for name in names]
    # What turns out to be no file, as a link that leads nowhere, is reported as what cannot be read.
    return sorted(filter(decoding.takes, found), key=Path.as_posix)


def _name(name: Path, format: Format | None, writes: Content | None) -> Path:
    own = FORMATS.get(name.suffix.lower())
    if format is not None:
        return name if own == format else name.with_suffix(f".{format}")
    if isinstance(writes, Bands):
        in_png = writes.depth != "float32" and writes.channels in (1, 3, 4)
        return name if own in ("tif", "npy") or (own == "png" and in_png) else name.with_suffix(".tif")
    # Before it is known what the network is, a NumPy file should be in no image's way.
    return name if own is not None and (own != "npy" or writes is None) else name.with_suffix(".png")


def _identity(path: Path) -> object:
    """Equal for names of the same file."""
    try:
        found = path.stat()
    except OSError:
        return path
    return found.st_dev, found.st_ino
