"""What each rank has of its own, put into the one checkpoint and taken out again."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import distributed


def random_state() -> dict[str, Any]:
    """The state of every global random generator of this process, in types that a checkpoint may hold."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.array(keys)), int(position), int(has_gauss), float(cached)],
        "python": [version, list(numbers), gauss],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put every global random generator into the state that `random_state` gave."""
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy(), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def gather(state: Any) -> list[Any]:
    """The states of all ranks, by rank; called by all of them. A rank other than 0 gets its own only."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [state]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    first = distributed.get_rank() == 0
    states: list[bytes] | None = [b""] * distributed.get_world_size() if first else None
    distributed.gather_object(buffer.getvalue(), states)
    if states is None:
        return [state]
    return [torch.load(io.BytesIO(content), map_location="cpu", weights_only=True) for content in states]


def on_cpu(state: Any) -> Any:
    """The same with every tensor on the CPU, as ranks exchange it and a checkpoint holds it."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, Mapping):
        return {key: on_cpu(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [on_cpu(value) for value in state]
    return state
