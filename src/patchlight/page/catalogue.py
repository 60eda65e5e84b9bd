"""The checkpoints of the page, with the palette and canvas of each."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from patchlight.data.synthetic.layout import draw_facade
from patchlight.errors import DataError, UserError
from patchlight.inference.translator import Direction
from patchlight.page.models import Choice, Loaded, Models
from patchlight.page.palette import FACADES, Palette, Setting, choose_palette, to_hex

DIRECTIONS: dict[Direction, str] = {"AtoB": "A → B", "BtoA": "B → A"}
"""How the page writes them."""


class Catalogue:
    """The checkpoints of the page by name; those that turn out to be unusable are marked from then on.

    Raises:
        DataError: none of them can be used.
    """

    def __init__(self, choices: Sequence[Choice], models: Models, palette: Setting) -> None:
        self.models = models
        self.palette = palette
        self.paths = {choice.name: choice.path for choice in choices}
        self.problems = {choice.name: choice.problem for choice in choices if choice.problem}
        self.first = self._first_usable()

    def _first_usable(self) -> str:
        for name in self.paths:
            if name in self.problems:
                continue
            try:
                self.loaded(name)
            except UserError:
                continue
            return name
        raise DataError(f"none of the checkpoints can be used: {next(iter(self.problems.values()))}")

    @property
    def labels(self) -> list[tuple[str, str]]:
        """What the list shows for each name, and the name."""
        return [(f"{name} (cannot be used)" if name in self.problems else name, name) for name in self.paths]

    def loaded(self, name: str) -> Loaded:
        """The model of that name, in memory.

        Raises:
            DataError: there is none, or it cannot be used.
        """
        if name not in self.paths:
            raise DataError("Choose a checkpoint first.")
        try:
            loaded = self.models(self.paths[name])
        except UserError as error:
            self.problems[name] = str(error)
            raise
        self.problems.pop(name, None)
        return loaded

    def path(self, name: str) -> Path:
        """Where the checkpoint of that name lies.

        Raises:
            DataError: there is none.
        """
        if name not in self.paths:
            raise DataError("Choose a checkpoint first.")
        return self.paths[name]

    def palette_for(self, name: str, direction: Direction) -> Palette:
        """The colours to paint with for that network."""
        return choose_palette(self.palette, self.loaded(name).model.config, direction)

    def canvas(self, name: str, direction: Direction, example: int | None = None) -> str:
        """The canvas for that network, as canvas.js takes it; with the `example`-th house on it if there is one."""
        palette, side = self.palette_for(name, direction), self.loaded(name).side
        return json.dumps(
            {
                "side": side,
                "colours": [(colour, to_hex(value)) for colour, value in palette.colours.items()],
                "labels": palette is FACADES,
                "picture": None if example is None else house(side, example),
                "example": example,
            }
        )


def house(side: int, seed: int) -> str:
    """A label map of the facades' classes, `side` pixels wide and high, as the address of a picture."""
    buffer = io.BytesIO()
    Image.fromarray(draw_facade(np.random.default_rng(seed), side).label_map()).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
