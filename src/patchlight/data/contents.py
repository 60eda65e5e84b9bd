"""What the two domains of a set hold, from the settings of its data section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchlight.data.content import Colours, Content
from patchlight.data.labels import label_maps

DOMAIN_KEYS: Mapping[str, Any] = {"n_classes": None, "instances": False}
"""Settings of the data section that say what its images hold, with what they are where a section has none."""


def contents_of(
    *, direction: str, channels_a: int, channels_b: int, n_classes: int | None, instances: bool
) -> tuple[Content, Content]:
    """What the files of domain A and of domain B hold.

    Raises:
        DataError: a setting out of range, by its key.
    """
    labels = label_maps(n_classes, instances)
    a: Content = labels if labels is not None and direction == "AtoB" else Colours(channels_a)
    b: Content = labels if labels is not None and direction == "BtoA" else Colours(channels_b)
    return a, b
