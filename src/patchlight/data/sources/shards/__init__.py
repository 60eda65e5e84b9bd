"""Sets in shards: the source, its index, fetching shards from a server or an object store, keeping and writing them."""

from patchlight.data.sources.shards.source import Shards

__all__ = ["Shards"]
