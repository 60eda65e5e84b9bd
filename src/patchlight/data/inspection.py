"""What keys and headers tell of the images of a set, before a training decodes any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from patchlight.data.masks import MASK, unequal_mask
from patchlight.data.processing import Processing, unequal_pair
from patchlight.data.sources import Domains, Header, ImageRef, Record, Split
from patchlight.data.transforms import Size
from patchlight.errors import DataError
from patchlight.system.image_file import one_message

NAMED = 5
"""So many images are named in a message; the others are counted."""


@dataclass(frozen=True)
class Problem:
    """Why a training could not use an image. Problems of one `kind` are told together."""

    kind: str
    key: str
    message: str


Headers = Mapping[Record, tuple[Header, ...] | Problem]
"""Of an image, or of both images of a pair that is read in one go."""


def inspect(splits: Mapping[Split, Domains], processing: Processing, *, paired: bool, advice: str = "") -> None:
    """Find the images that the training would stop at, as far as their headers tell.

    Raises:
        DataError: naming the first of these images, with the advice at its end.
    """
    splits = {split: domains.representatives() for split, domains in splits.items()}
    images = (image for d in splits.values() for image in (*d.a, *d.b, *(d.masks or ())))
    records = list(dict.fromkeys(image.record for image in images))
    headers: dict[Record, tuple[Header, ...] | Problem] = {}
    for source, same in groupby(records, key=lambda record: record[0]):
        found = list(same)
        with ThreadPoolExecutor(source.header_threads) as pool:
            headers |= zip(found, pool.map(_look, found), strict=True)
    problems = {p.key: p for p in headers.values() if isinstance(p, Problem)}
    for split, domains in splits.items():
        geometry = replace(processing.geometry, random=False)
        check = _PairCheck(replace(processing, geometry=geometry if split == "train" else geometry.for_evaluation()))
        for group in _groups(domains, paired):
            if check.problem(group, headers) is None:
                continue
            # It may only seem so where a header is mistaken.
            exact = {image.record: _look(image.record, exact=True) for _, image in group}
            problem = check.problem(group, exact)
            if problem is not None:
                problems.setdefault(problem.key, problem)
    if problems:
        raise DataError(_tell(list(problems.values())) + advice)


def _look(record: Record, exact: bool = False) -> tuple[Header, ...] | Problem:
    """The headers of a record, or what is wrong with it; looked at twice before it is refused."""
    source, index = record
    key = source.key(index)
    try:
        with one_message(key):
            header = source.exact_header(index) if exact else source.header(index)
            return header if isinstance(header, tuple) else (header,)
    except DataError as error:
        return Problem(type(error).__name__, key, str(error)) if exact else _look(record, exact=True)


def _groups(domains: Domains, paired: bool) -> Iterator[Sequence[tuple[str, ImageRef]]]:
    """The images that have to suit one another, with their domains; "mask" is that of masks."""
    if domains.masks is not None:
        for a, b, mask in zip(domains.a, domains.b, domains.masks, strict=True):
            yield ("a", a), ("b", b), ("mask", mask)
    elif paired:
        yield from ((("a", a), ("b", b)) for a, b in zip(domains.a, domains.b, strict=True))
    else:
        yield from ((("a", image),) for image in domains.a)
        yield from ((("b", image),) for image in domains.b)


class _PairCheck:
    """Says what keeps images of some sizes and channels from being prepared for the networks."""

    def __init__(self, processing: Processing) -> None:
        self.processing = processing
        self._contents = {"a": processing.content_a, "b": processing.content_b, "mask": MASK}
        self._good: set[Size] = set()

    def problem(self, images: Sequence[tuple[str, ImageRef]], headers: Headers) -> Problem | None:
        """What is wrong with images that belong together; None also where a header could not be read."""
        sizes: list[Size] = []
        for domain, image in images:
            found = headers[image.record]
            if isinstance(found, Problem):
                return None
            header = found[image.side]
            wanted = self._contents[domain]
            try:
                wanted.check_header(header.channels, header.mode, header.format)
            except ValueError as error:
                return Problem("channels", image.key, f"data.{wanted.key(domain)} does not suit {image.key}: {error}")
            sizes.append((header.height, header.width))
        key = images[0][1].key
        if len(sizes) > 2 and sizes[2] != sizes[0]:
            return Problem("mask", images[2][1].key, unequal_mask(images[2][1].key, sizes[2], sizes[0]))
        if len(set(sizes)) > 1:
            return Problem("pair", key, unequal_pair(key, images[1][1].key, sizes[0], sizes[1]))
        if sizes[0] not in self._good:
            unused = np.random.default_rng(0)  # nothing is drawn where the geometry is not random
            try:
                left, top, right, bottom = self.processing.geometry.place(sizes[0], unused, key).box
                self.processing.check_size((bottom - top, right - left), key)
            except DataError as error:
                return Problem("size", key, str(error))
            self._good.add(sizes[0])
        return None


def _tell(problems: Sequence[Problem]) -> str:
    """One line for all problems: the first of each kind in full, the names of some more, and how many there are."""
    listed, sentences = 0, []
    for kind in dict.fromkeys(problem.kind for problem in problems):
        first, *others = [problem for problem in problems if problem.kind == kind]
        displayed = others[: max(NAMED - listed - 1, 0)]
        listed += 1 + len(displayed)
        more = [problem.key for problem in displayed]
        if len(others) > len(displayed):
            more.append(f"{len(others) - len(displayed)} more")
        also = f"; likewise {' and '.join(filter(None, [', '.join(more[:-1]), more[-1]]))}" if more else ""
        sentences.append(first.message + also)
    return ". ".join(sentences)
