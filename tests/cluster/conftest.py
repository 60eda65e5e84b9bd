from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .slurm import Cluster, cluster_of


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of one node; its sockets need a folder with a short name."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, cluster_of(1, Path(folder) / "s") as running:
        yield running


@pytest.fixture
def two_nodes() -> Iterator[Cluster]:
    """A cluster of two nodes; the second believes to be on another host, which takes root."""
    if os.geteuid() != 0:
        pytest.skip("a second node needs root")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, cluster_of(2, Path(folder) / "s") as running:
        yield running
