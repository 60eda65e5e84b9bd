"""What names and headers tell of the files of a set, before a training decodes any of them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags

from patchlight.data.datasets import Processing, odd_width, unequal_pair
from patchlight.data.sources.folders import Domains, Source, Split
from patchlight.data.transforms import Size
from patchlight.errors import DataError
from patchlight.system.image_file import open_image

THREADS = 8
"""They wait for the disk more than they compute; on a network file system that is what takes the time."""

NAMED = 5
"""So many files are named in a message; the others are counted."""

SIDEWAYS = (5, 6, 7, 8)
"""The EXIF orientations in which height and width trade places."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself; `width` and `height` are those of the image turned upright."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int


@dataclass(frozen=True)
class Problem:
    """Why a training could not use a file. Problems of one `kind` are told together."""

    kind: str
    path: Path
    message: str


def read_header(path: Path, thorough: bool = True) -> Header:
    """The header of an image file, without its pixels.

    The orientation of some PNG files stands after the pixels. It is looked for only if the reading is `thorough`.

    Raises:
        DataError: the file is not there, has no bytes or is no image.
    """
    if os.path.isfile(path) and not os.path.getsize(path):
        raise DataError(f"{path} has no bytes: replace or remove it")
    with open_image(path) as file:
        early = file.format != "PNG" or "exif" in file.info or "Raw profile type exif" in file.info
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1) if early or thorough else 1
        width, height = file.size[::-1] if orientation in SIDEWAYS else file.size
        return Header(file.format or "", file.mode, width, height, int(orientation))


def inspect(splits: Mapping[Split, Domains], processing: Processing, root: Path, *, paired: bool) -> None:
    """Find the files that the training would stop at, as far as their headers tell.

    Raises:
        DataError: naming the first of these files.
    """
    files = list(dict.fromkeys(source.path for d in splits.values() for source in (*d.a, *d.b)))
    with ThreadPoolExecutor(THREADS) as pool:
        headers = dict(zip(files, pool.map(_look, files), strict=True))
    problems = {path: Problem("unreadable", path, said) for path, said in headers.items() if isinstance(said, str)}
    for split, domains in splits.items():
        geometry = replace(processing.geometry, random=False)
        check = _PairCheck(replace(processing, geometry=geometry if split == "train" else geometry.for_evaluation()))
        for sources in _groups(domains, paired):
            if check.problem(sources, headers) is None:
                continue
            # It may only seem so where the orientation stands at the end of a file.
            problem = check.problem(sources, {source.path: _look(source.path, thorough=True) for source in sources})
            if problem is not None:
                problems.setdefault(problem.path, problem)
    if problems:
        raise DataError(_tell(list(problems.values()), root))


def _look(path: Path, thorough: bool = False) -> Header | str:
    """The header, or what is wrong with it."""
    try:
        return read_header(path, thorough)
    except DataError as error:
        return str(error)


def _groups(domains: Domains, paired: bool) -> Iterator[tuple[Source, ...]]:
    """The images that have to suit one another."""
    if paired:
        yield from zip(domains.a, domains.b, strict=True)
    else:
        yield from ((source,) for source in (*domains.a, *domains.b))


class _PairCheck:
    """Says what keeps images of some sizes from being prepared for the networks, in the words of who prepares them."""

    def __init__(self, processing: Processing) -> None:
        self.processing = processing
        self._good: set[Size] = set()

    def problem(self, sources: Sequence[Source], headers: Mapping[Path, Header | str]) -> Problem | None:
        """What is wrong with images that belong together; None also where a header could not be read."""
        sizes: list[Size] = []
        for source in sources:
            header = headers[source.path]
            if isinstance(header, str):
                return None
            if source.half != "whole" and header.width % 2:
                return Problem("odd", source.path, odd_width(source.path, header.width))
            sizes.append((header.height, header.width // (1 if source.half == "whole" else 2)))
        if len(set(sizes)) > 1:
            return Problem("pair", sources[0].path, unequal_pair(sources[0].path, sources[1].path, sizes[0], sizes[1]))
        if sizes[0] not in self._good:
            try:
                self._place(sizes[0], sources[0].path)
            except DataError as error:
                return Problem("size", sources[0].path, str(error))
            self._good.add(sizes[0])
        return None

    def _place(self, size: Size, path: Path) -> None:
        unused = np.random.default_rng(0)  # nothing is drawn where the geometry is not random
        left, top, right, bottom = self.processing.geometry.place(size, unused, path).box
        self.processing.check_size((bottom - top, right - left), path)


def _tell(problems: Sequence[Problem], root: Path) -> str:
    """One line for all problems: the first of each kind in full, the names of some more, and how many there are."""
    named, sentences = 0, []
    for kind in dict.fromkeys(problem.kind for problem in problems):
        first, *others = [problem for problem in problems if problem.kind == kind]
        shown = others[: max(NAMED - named - 1, 0)]
        named += 1 + len(shown)
        more = [str(problem.path) for problem in shown]
        if len(others) > len(shown):
            more.append(f"{len(others) - len(shown)} more")
        also = f"; likewise {' and '.join(filter(None, [', '.join(more[:-1]), more[-1]]))}" if more else ""
        sentences.append(first.message + also)
    return f"{'. '.join(sentences)} (all at once: patchlight-doctor {shlex.quote(f'data={root}')})"
