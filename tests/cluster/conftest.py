from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .slurm import Cluster, one_node_cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of one node; its sockets need a folder with a short name."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, one_node_cluster(Path(folder) / "s") as running:
        yield running
