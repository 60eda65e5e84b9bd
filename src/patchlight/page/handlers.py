"""Handlers of the page's events: from its inputs to its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import gradio as gr

from patchlight.errors import UserError
from patchlight.inference.loading import Weights
from patchlight.inference.pixels import Pixels
from patchlight.inference.translator import Direction
from patchlight.page.catalogue import DIRECTIONS, Catalogue
from patchlight.page.intake import Limits, read_drawing, read_upload, showable
from patchlight.page.studio import Scene, Studio

View = Literal["result", "input", "off"]
Updates = tuple[Any, ...]
"""One value or update for each output of an event, in their order."""

SMALL = 300
"""Pictures of fewer pixels a side are shown with their pixels, larger ones smoothly."""

P = ParamSpec("P")
R = TypeVar("R")


def _as_html(error: UserError) -> str:
    """A message, in which a file's name or a value of a checkpoint may be anything, as Gradio shows it."""
    return escape(str(error), quote=False)


def _said(handler: Callable[P, R]) -> Callable[P, R]:
    """The same, with what the user can put right as a message on the page."""

    @wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except UserError as error:
            raise gr.Error(_as_html(error), title="That did not work", print_exception=False) from None

    return run


class Handlers:
    """The functions behind the page's events; public ones take its inputs in their order and return its outputs."""

    def __init__(self, catalogue: Catalogue, studio: Studio, limits: Limits) -> None:
        self.catalogue = catalogue
        self.studio = studio
        self.limits = limits
        self.choose = _said(self._choose)
        self.turn = _said(self._turn)
        self.example = _said(self._example)
        self.uploaded = _said(self._uploaded)
        self.translate = _said(self._translate)
        self.compare = _said(self._compare)

    def _choose(self, name: str, before: str) -> Updates:
        """To checkpoint, the one before, direction, weights, canvas, note."""
        try:
            model = self.catalogue.loaded(name)
        except UserError as error:
            gr.Warning(_as_html(error), title="This checkpoint cannot be used")
            skips = [gr.skip()] * 5
            return (gr.update(choices=self.catalogue.labels, value=before), *skips)
        direction = model.directions[0]
        return (
            gr.update(choices=self.catalogue.labels),
            name,
            gr.update(choices=[(DIRECTIONS[one], one) for one in model.directions], value=direction),
            gr.update(choices=list(model.weights), value=model.weights[0]),
            self.catalogue.canvas(name, direction),
            self.note(name),
        )

    def note(self, name: str) -> str:
        """HTML: what the page says of a checkpoint."""
        model = self.catalogue.loaded(name)
        ways = " and ".join(DIRECTIONS[one] for one in model.directions)
        return (
            f'<p class="pl-note">Trained on squares of <b>{model.side} pixels</b>, {ways}. Images keep their size; '
            "those of about that scale come out best.</p>"
        )

    def _turn(self, name: str, direction: Direction) -> str:
        """To the canvas, whose colours may be others."""
        return self.catalogue.canvas(name, direction)

    def _example(self, name: str, direction: Direction, count: int) -> Updates:
        """To canvas, count."""
        return self.catalogue.canvas(name, direction, count), count + 1

    def _uploaded(self, upload: str | None, name: str, direction: Direction, weights: Weights, view: View) -> Updates:
        """To the picture of the upload, and what `translate` gives."""
        if upload is None:
            return tuple([gr.skip()] * 10)
        path = Path(upload)
        pixels = read_upload(path, self.limits)
        scene = self.studio.translate(self.catalogue.path(name), direction, weights, pixels, path.stem)
        return (self._given(path, pixels), *self._scene(scene, view))

    def _given(self, path: Path, pixels: Pixels) -> Any:
        """Shows an upload."""
        displayed = showable(path, pixels, self.studio.new_folder())
        return gr.update(value=str(displayed), visible=True, elem_classes=_classes(pixels.size))

    def _translate(
        self, drawing: str | None, upload: str | None, name: str, direction: Direction, weights: Weights, view: View
    ) -> Updates:
        """To scene, result, map, both empty places, legend, summary and both downloads; a drawing goes first."""
        if drawing is not None:
            palette = self.catalogue.palette_for(name, direction)
            pixels, stem = read_drawing(drawing, palette, self.catalogue.loaded(name).side), "drawing"
        elif upload is not None:
            pixels, stem = read_upload(Path(upload), self.limits), Path(upload).stem
        else:
            gr.Warning("Upload an image or draw one first.", title="There is nothing to translate")
            return tuple([gr.skip()] * 9)
        scene = self.studio.translate(self.catalogue.path(name), direction, weights, pixels, stem)
        return self._scene(scene, view)

    def _scene(self, scene: Scene, view: View) -> Updates:
        return (
            scene,
            gr.update(value=str(scene.result), visible=True),
            *self.show(scene, view)[:1],
            gr.update(visible=False),
            gr.update(visible=False),
            *self.show(scene, view)[1:],
            gr.update(value=str(scene.result), interactive=True),
        )

    def show(self, scene: Scene | None, view: View) -> Updates:
        """To map, legend, summary, and the download of the map."""
        if scene is None:
            return tuple([gr.skip()] * 4)
        path = {"result": scene.over_result, "input": scene.over_input, "off": None}[view]
        place = None if path is None else str(path)
        return (
            gr.update(value=place, visible=place is not None, elem_classes=_classes(scene.source.size)),
            gr.update(value=scene.legend, visible=place is not None),
            gr.update(value=f'<p class="pl-note">{scene.scores[0].upper()}{scene.scores[1:]}</p>', visible=True),
            gr.update(value=place, interactive=place is not None),
        )

    def _compare(self, scene: Scene | None, real: str | None) -> Updates:
        """To the picture of the real image, its map, the translation's map, legend, summary."""
        if real is None:
            return (*[gr.update(visible=False)] * 4, "")
        if scene is None:
            gr.Warning("Translate an image first, then give the real one beside it.", title="Nothing to compare with")
            return tuple([gr.skip()] * 5)
        path = Path(real)
        pixels = read_upload(path, self.limits)
        compared = self.studio.compare(scene, pixels)
        classes = _classes(scene.source.size)
        return (
            self._given(path, pixels),
            gr.update(value=str(compared.real), visible=True, elem_classes=classes),
            gr.update(value=str(compared.translated), visible=True, elem_classes=classes),
            gr.update(value=compared.legend, visible=True),
            f'<div class="pl-note pl-compared">{compared.scores}</div>',
        )


def _classes(size: Sequence[int]) -> list[str]:
    return ["pl-picture", "pl-sharp"] if max(size) < SMALL else ["pl-picture"]
