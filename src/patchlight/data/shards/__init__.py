"""Sets in shards: their index, fetching them from a server or an object store, keeping and writing them."""
