"""The events of the page and their handlers, each from the values of some components to updates of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import gradio as gr

from patchlight.data.content import Content
from patchlight.errors import UserError
from patchlight.inference.loading import Weights
from patchlight.inference.pixels import Pixels
from patchlight.inference.translator import Direction, Translator
from patchlight.page.catalogue import DIRECTIONS, Catalogue
from patchlight.page.intake import Limits, read_drawing, read_upload, showable
from patchlight.page.studio import Scene, Studio

View = Literal["result", "input", "off"]
Updates = Any
"""By component, a value or `gr.update`; or `gr.skip()`, which changes nothing."""

SMALL = 300
"""Pictures of fewer pixels a side are shown with their pixels, larger ones smoothly."""

DRAWING = """(drawing, ...others) => {
  const canvas = document.querySelector("#pl-canvas canvas");
  const visible = canvas !== null && canvas.offsetParent !== null;
  return [visible ? canvas.toDataURL("image/png") : null, ...others];
}"""
"""Sends the drawing along if it is what the page shows."""

NETWORK = "network"
"""One image at a time goes through the network, and a checkpoint is loaded once."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Components:
    """The components of the page that have events, or change with them.

    `before` is the checkpoint that is chosen, for the case that another cannot be used, and `count` the number of
    examples that were drawn.
    """

    checkpoint: gr.Dropdown
    direction: gr.Radio
    weights: gr.Radio
    view: gr.Radio
    upload: gr.File
    given: gr.Image
    canvas: gr.HTML
    translate: gr.Button
    note: gr.HTML
    empty: gr.HTML
    result: gr.Image
    download: gr.DownloadButton
    no_map: gr.HTML
    heat: gr.Image
    legend: gr.HTML
    summary: gr.HTML
    download_map: gr.DownloadButton
    real: gr.File
    real_given: gr.Image
    real_heat: gr.Image
    fake_heat: gr.Image
    common_legend: gr.HTML
    compared: gr.HTML
    scene: gr.State
    before: gr.State
    count: gr.State


def _with_message(handler: Callable[P, R]) -> Callable[P, R]:
    """A handler that shows what the user can put right as a message on the page."""

    @wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except UserError as error:
            # As HTML, in which a file's name or a value of a checkpoint may be anything.
            raise gr.Error(escape(str(error), quote=False), title="That did not work", print_exception=False) from None

    return run


@dataclass(frozen=True)
class Handlers:
    """The handlers of the page's events, which take the values of their inputs in order."""

    components: Components
    catalogue: Catalogue
    studio: Studio
    limits: Limits

    def connect(self) -> None:
        """Give all events their handlers; called while the page is built."""
        c = self.components
        settings = [c.checkpoint, c.direction, c.weights, c.view]
        shown = [c.scene, c.result, c.heat, c.empty, c.no_map, c.legend, c.summary, c.download, c.download_map]
        progress = [c.result, c.heat, c.empty, c.no_map]
        c.checkpoint.input(
            self.choose, [c.checkpoint, c.before], [c.before, c.checkpoint, c.direction, c.weights, c.canvas, c.note],
            concurrency_id=NETWORK, concurrency_limit=1, show_progress_on=c.note, api_visibility="private",
        )  # fmt: skip
        c.direction.input(
            self.turn, [c.checkpoint, c.direction], c.canvas, show_progress="hidden", api_visibility="private"
        )
        c.canvas.click(
            self.example, [c.checkpoint, c.direction, c.count], [c.canvas, c.count], show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        c.view.input(
            self.show, [c.scene, c.view], [c.heat, c.legend, c.summary, c.download_map], show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        translated = [
            c.upload.upload(
                self.uploaded, [c.upload, *settings], [c.given, *shown], concurrency_id=NETWORK,
                show_progress_on=progress, api_visibility="private",
            ),
            c.translate.click(
                self.translate, [c.canvas, c.upload, *settings], shown, js=DRAWING, concurrency_id=NETWORK,
                show_progress_on=progress, api_visibility="private",
            ),
        ]  # fmt: skip
        comparing: list[Any] = [c.real.upload, c.real.clear, *(one.success for one in translated)]
        for listen in comparing:
            listen(
                self.compare, [c.scene, c.real], [c.real_given, c.real_heat, c.fake_heat, c.common_legend, c.compared],
                concurrency_id=NETWORK, show_progress="minimal", api_visibility="private",
            )  # fmt: skip
        c.upload.clear(
            lambda: gr.update(visible=False), None, c.given, show_progress="hidden", api_visibility="private"
        )

    @_with_message
    def choose(self, name: str, before: str) -> Updates:
        """Another checkpoint, or the one before where it cannot be used."""
        c = self.components
        try:
            model = self.catalogue.loaded(name)
        except UserError as error:
            gr.Warning(escape(str(error), quote=False), title="This checkpoint cannot be used")
            return {c.checkpoint: gr.update(choices=self.catalogue.labels, value=before)}
        direction = model.directions[0]
        return {
            c.before: name,
            c.checkpoint: gr.update(choices=self.catalogue.labels),
            c.direction: gr.update(choices=[(DIRECTIONS[one], one) for one in model.directions], value=direction),
            c.weights: gr.update(choices=list(model.weights), value=model.weights[0]),
            c.canvas: self.catalogue.canvas(name, direction),
            c.note: self.catalogue.note(name),
        }

    @_with_message
    def turn(self, name: str, direction: Direction) -> str:
        """The canvas, whose colours may be others in another direction."""
        return self.catalogue.canvas(name, direction)

    @_with_message
    def example(self, name: str, direction: Direction, count: int) -> Updates:
        """The next example on the canvas."""
        c = self.components
        return {c.canvas: self.catalogue.canvas(name, direction, count), c.count: count + 1}

    @_with_message
    def uploaded(self, upload: str | None, name: str, direction: Direction, weights: Weights, view: View) -> Updates:
        """The picture of an upload, and its translation."""
        if upload is None:
            return gr.skip()
        path = Path(upload)
        content = self._network(name, direction, weights).reads
        pixels = read_upload(path, self.limits, content)
        translated = self._translation(pixels, path.stem, name, direction, weights, view)
        return {self.components.given: self._uploaded_picture(path, pixels, content), **translated}

    @_with_message
    def translate(
        self, drawing: str | None, upload: str | None, name: str, direction: Direction, weights: Weights, view: View
    ) -> Updates:
        """The translation of a drawing, if there is one, or else of the upload."""
        if drawing is not None:
            palette = self.catalogue.palette_for(name, direction)
            pixels, stem = read_drawing(drawing, palette, self.catalogue.loaded(name).side), "drawing"
        elif upload is not None:
            content = self._network(name, direction, weights).reads
            pixels, stem = read_upload(Path(upload), self.limits, content), Path(upload).stem
        else:
            gr.Warning("Upload an image or draw one first.", title="There is nothing to translate")
            return gr.skip()
        return self._translation(pixels, stem, name, direction, weights, view)

    def show(self, scene: Scene | None, view: View) -> Updates:
        """The patch map over the result, over the input, or none."""
        if scene is None:
            return gr.skip()
        c = self.components
        path = {"result": scene.over_result, "input": scene.over_input, "off": None}[view]
        place = None if path is None else str(path)
        return {
            c.heat: _picture(path, scene.source) if path is not None else gr.update(value=None, visible=False),
            c.legend: gr.update(value=scene.legend, visible=place is not None),
            c.summary: gr.update(
                value=f'<p class="pl-note">{scene.scores[0].upper()}{scene.scores[1:]}</p>', visible=True
            ),
            c.download_map: gr.update(value=place, interactive=place is not None),
        }

    @_with_message
    def compare(self, scene: Scene | None, real: str | None) -> Updates:
        """The patch maps of a real image and of the translation on one scale."""
        c = self.components
        if real is None:
            hidden = dict.fromkeys((c.real_given, c.real_heat, c.fake_heat, c.common_legend), gr.update(visible=False))
            return {**hidden, c.compared: ""}
        if scene is None:
            gr.Warning("Translate an image first, then give the real one beside it.", title="Nothing to compare with")
            return gr.skip()
        content = self.studio.models(scene.path).translator(scene.direction, scene.weights).writes
        pixels = read_upload(Path(real), self.limits, content)
        compared = self.studio.compare(scene, pixels)
        return {
            c.real_given: self._uploaded_picture(Path(real), pixels, content),
            c.real_heat: _picture(compared.real, scene.source),
            c.fake_heat: _picture(compared.translated, scene.source),
            c.common_legend: gr.update(value=compared.legend, visible=True),
            c.compared: f'<div class="pl-note pl-compared">{compared.scores}</div>',
        }

    def _network(self, name: str, direction: Direction, weights: Weights) -> Translator:
        return self.catalogue.loaded(name).translator(direction, weights)

    def _uploaded_picture(self, path: Path, pixels: Pixels, content: Content) -> Any:
        return _picture(showable(path, pixels, self.studio.new_folder(), content), pixels)

    def _translation(
        self, pixels: Pixels, stem: str, name: str, direction: Direction, weights: Weights, view: View
    ) -> Updates:
        c = self.components
        scene = self.studio.translate(self.catalogue.path(name), direction, weights, pixels, stem)
        return {
            c.scene: scene,
            c.result: gr.update(value=str(scene.shown), visible=True),
            c.empty: gr.update(visible=False),
            c.no_map: gr.update(visible=False),
            c.download: gr.update(value=str(scene.result), interactive=True),
            **self.show(scene, view),
        }


def _picture(path: Path, image: Pixels) -> Any:
    """A picture at the place of an image of that size."""
    classes = ["pl-picture", "pl-sharp"] if max(image.size) < SMALL else ["pl-picture"]
    return gr.update(value=str(path), visible=True, elem_classes=classes)
