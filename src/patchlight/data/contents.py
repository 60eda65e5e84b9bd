"""What the two domains of a set hold, from the settings of its data section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from patchlight.data.bands import Bands, bands_of
from patchlight.data.content import Colours, Content
from patchlight.data.lab import Chroma, Lightness, as_pictures
from patchlight.data.labels import label_maps
from patchlight.errors import DataError

PER_DOMAIN: Mapping[str, Any] = {"depth": "uint8", "range": None, "bands": None, "display": None}

SETTINGS: Mapping[str, Any] = {
    "n_classes": None, "instances": False, "colorization": False,
    **{f"{name}_{domain}": default for domain in "ab" for name, default in PER_DOMAIN.items()},
}  # fmt: skip
"""Settings of the data section that say what its images hold, beside `direction`, `channels_a` and `channels_b`, with
what they are where a section has none."""


def contents_of(data: Mapping[str, Any]) -> tuple[Content, Content]:
    """What the files of domain A and of domain B hold, by the settings of a data section, as plain types.

    Raises:
        DataError: a setting out of range, or settings that do not go together, by the key.
    """
    given = {key: default if data.get(key) is None else data[key] for key, default in SETTINGS.items()}
    labels = label_maps(given["n_classes"], bool(given["instances"]))
    input_domain = "a" if data["direction"] == "AtoB" else "b"
    own: dict[str, Content | None] = {
        domain: bands_of(domain, data[f"channels_{domain}"], *(given[f"{name}_{domain}"] for name in PER_DOMAIN))
        for domain in "ab"
    }
    if given["colorization"]:
        _require_colorization(data, labels is not None or any(own.values()))
        return Lightness(), Chroma()
    if labels is not None and own[input_domain] is not None:
        raise DataError(
            f"data.n_classes={labels.n_classes} makes domain {input_domain.upper()} label maps: leave out "
            f"{' '.join(f'data.{name}_{input_domain}' for name in PER_DOMAIN)}"
        )
    own[input_domain] = labels or own[input_domain]
    a, b = (own[domain] or Colours(data[f"channels_{domain}"]) for domain in "ab")
    return a, b


def _require_colorization(data: Mapping[str, Any], has_others: bool) -> None:
    if has_others:
        raise DataError("data.colorization=true takes pictures in RGB: leave out n_classes, depth, range and bands")
    if data["direction"] != "AtoB" or (data["channels_a"], data["channels_b"]) != (1, 2):
        raise DataError(
            "data.colorization=true goes from lightness to colour: leave data.direction, data.channels_a and "
            "data.channels_b as data=colorization has them (AtoB, 1, 2)"
        )


def compared(images: Mapping[str, Tensor], contents: Mapping[str, Content]) -> dict[str, Tensor]:
    """Images by name, ... C H W in [-1, 1], as figures compare them: with all their channels, but colours in RGB.

    Names end in the domain, as `fake_B` does; `contents` says what the domains hold, and nothing of colours.
    """
    return as_pictures(images, contents)


def drawn(images: Mapping[str, Tensor], contents: Mapping[str, Content]) -> dict[str, Tensor]:
    """Images by name as pictures show them, ... C H W in [-1, 1]: of bands one or three, see `Bands.drawn`."""
    found = as_pictures(images, contents)
    for name, image in images.items():
        content = contents.get(name[-1:])
        if isinstance(content, Bands):
            found[name] = content.drawn(image)
    return found
