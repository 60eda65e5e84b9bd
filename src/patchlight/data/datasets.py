"""Datasets of pairs and of two domains that do not belong together."""

from __future__ import annotations

from functools import partial

from torch.utils.data import Dataset

from patchlight.data.batches import Sample
from patchlight.data.cache import Arena, ImageCache
from patchlight.data.content import Levels
from patchlight.data.loading import SampleKey, sample_rng
from patchlight.data.masks import MASK, read_mask
from patchlight.data.processing import Processing, bytes_per_pixel, read, read_pair, size_of
from patchlight.data.sources import Domains


class PairedDataset(Dataset[Sample]):
    """Pairs of images that belong together; both get the same resize, crop and flip.

    Each is there `repeat` times, with randomness of its own. Pairs that have been read are kept in `arena`, resized, as
    far as it has room.
    """

    def __init__(
        self, domains: Domains, processing: Processing, arena: Arena | None = None, repeat: int = 1
    ) -> None:  # fmt: skip
        assert len(domains.a) == len(domains.b)
        self.domains, self.repeat = domains, repeat
        self.processing = processing
        self._contents = (processing.content_a, processing.content_b, *([] if domains.masks is None else [MASK]))
        self._cache = ImageCache(arena or Arena(0), len(domains.a), [bytes_per_pixel(c) for c in self._contents])

    def __len__(self) -> int:
        return len(self.domains.a) * self.repeat

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index, _ = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        index %= len(self.domains.a)
        a, b = self.domains.a[index], self.domains.b[index]
        read_all = partial(self._read, index)
        array_a, array_b, *rest = p.prepare(self._cache, index, read_all, self._contents, a.key, rng)
        valid = rest[0] if rest else None
        return p.conditions(a, b) | p.sample(array_a, array_b, a.key, b.key, rng, paired=True, valid=valid)

    def _read(self, index: int) -> list[Levels]:
        p, domains = self.processing, self.domains
        pair = domains.a[index], domains.b[index]
        images = read_pair(*pair, p.content_a, p.content_b, decoded_smaller=p.decoded_smaller)
        if domains.masks is not None:
            images.append(read_mask(domains.masks[index], None if p.decoded_smaller else size_of(images[0])))
        return images


class UnpairedDataset(Dataset[Sample]):
    """An image of each domain, with a crop and flip of its own.

    An epoch is as long as the larger domain, `repeat` times. Where the geometry is random, so is the B that an A meets;
    for evaluation it is the one at the same position. Images that have been read are kept in `arena`, resized, as far
    as it has room.
    """

    def __init__(
        self, domains: Domains, processing: Processing, arena: Arena | None = None, repeat: int = 1
    ) -> None:  # fmt: skip
        self.domains, self.repeat = domains, repeat
        self.processing = processing
        arena = arena or Arena(0)
        self._cache_a = ImageCache(arena, len(domains.a), [bytes_per_pixel(processing.content_a)])
        self._cache_b = ImageCache(arena, len(domains.b), [bytes_per_pixel(processing.content_b)])

    def __len__(self) -> int:
        return len(self.domains) * self.repeat

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index, images = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        index %= len(self.domains)
        index_a, index_b = index % len(self.domains.a), index % len(self.domains.b)
        if images is not None:
            index_a, index_b = images
        elif p.geometry.random:
            index_b = int(rng.integers(len(self.domains.b)))
        a, b = self.domains.a[index_a], self.domains.b[index_b]
        of_a, of_b = p.content_a, p.content_b
        (array_a,) = p.prepare(self._cache_a, index_a, lambda: [read(a, of_a)], [of_a], a.key, rng)
        (array_b,) = p.prepare(self._cache_b, index_b, lambda: [read(b, of_b)], [of_b], b.key, rng)
        return p.conditions(a, b) | p.sample(array_a, array_b, a.key, b.key, rng, paired=False)


def _place(key: SampleKey | int, length: int) -> SampleKey:
    """The key of a sample; a plain index is one of the first epoch."""
    place = key if isinstance(key, SampleKey) else SampleKey(0, key)
    if not 0 <= place.item < length:
        raise IndexError(f"index {place.item} is not in a set of {length} images")
    return place
