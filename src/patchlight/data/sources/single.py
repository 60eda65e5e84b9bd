"""The smallest set: one image of each domain."""

from __future__ import annotations

from pathlib import Path

from patchlight.data.sources.base import FileSet, Found, Split
from patchlight.data.sources.folders import Files


class SinglePair(FileSet):
    """One image of domain A and one of B, for training and for tests; none for validation.

    A training sees them `data.repeat` times in an epoch, each time with another crop and flip.
    """

    def __init__(self, a: str | Path, b: str | Path) -> None:
        self.a, self.b = Path(a).expanduser(), Path(b).expanduser()

    def __call__(self, *, split: Split) -> Found:
        """The two images, which are not looked at yet."""
        paths = ((), ()) if split == "val" else ((self.a,), (self.b,))
        of_a, of_b = self.decodings
        return Files(paths[0], of_a), Files(paths[1], of_b)
