"""Connects the events of the page with their handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from patchlight.page.handlers import Handlers

DRAWING = """(drawing, ...others) => {
  const canvas = document.querySelector("#pl-canvas canvas");
  const visible = canvas !== null && canvas.offsetParent !== null;
  return [visible ? canvas.toDataURL("image/png") : null, ...others];
}"""
"""Sends the drawing along if it is what the page shows."""

NETWORK = "network"
"""One image at a time goes through the network, and a checkpoint is loaded once."""


@dataclass(frozen=True)
class Settings:
    """The row of choices."""

    checkpoint: gr.Dropdown
    direction: gr.Radio
    weights: gr.Radio
    view: gr.Radio

    def all(self) -> list[Any]:
        """In the order in which handlers take them."""
        return [self.checkpoint, self.direction, self.weights, self.view]


@dataclass(frozen=True)
class Input:
    """The components of the input: an uploaded file, with its picture, or the drawing."""

    upload: gr.File
    given: gr.Image
    canvas: gr.HTML
    translate: gr.Button
    note: gr.HTML


@dataclass(frozen=True)
class Output:
    """The result and its patch map, and what stands in their places before there are any."""

    empty: gr.HTML
    result: gr.Image
    download: gr.DownloadButton
    no_map: gr.HTML
    heat: gr.Image
    legend: gr.HTML
    summary: gr.HTML
    download_map: gr.DownloadButton

    def all(self) -> list[Any]:
        """In the order in which handlers return them."""
        return [
            self.result, self.heat, self.empty, self.no_map, self.legend, self.summary, self.download_map,
            self.download,
        ]  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A real image that is judged beside the translation."""

    real: gr.File
    given: gr.Image
    real_heat: gr.Image
    fake_heat: gr.Image
    legend: gr.HTML
    said: gr.HTML

    def all(self) -> list[Any]:
        """In the order in which handlers return them."""
        return [self.given, self.real_heat, self.fake_heat, self.legend, self.said]


def connect(
    handlers: Handlers, first: str, settings: Settings, input: Input, output: Output, comparison: Comparison
) -> None:
    """Give all events of the page their handlers; called while the page is built, whose first checkpoint is `first`."""
    scene = gr.State(None)
    _connect_settings(handlers, first, scene, settings, input, output)
    displayed = [scene, *output.all()]
    progress = [output.result, output.heat, output.empty, output.no_map]
    translated = [
        input.upload.upload(
            handlers.uploaded, [input.upload, *settings.all()], [input.given, *displayed], concurrency_id=NETWORK,
            show_progress_on=progress, api_visibility="private",
        ),
        input.translate.click(
            handlers.translate, [input.canvas, input.upload, *settings.all()], displayed, js=DRAWING,
            concurrency_id=NETWORK, show_progress_on=progress, api_visibility="private",
        ),
    ]  # fmt: skip
    listeners: list[Any] = [comparison.real.upload, comparison.real.clear, *(one.success for one in translated)]
    for listen in listeners:
        listen(
            handlers.compare, [scene, comparison.real], comparison.all(), concurrency_id=NETWORK,
            show_progress="minimal", api_visibility="private",
        )  # fmt: skip
    input.upload.clear(
        lambda: gr.update(visible=False), None, input.given, show_progress="hidden", api_visibility="private"
    )


def _connect_settings(
    handlers: Handlers, first: str, scene: gr.State, settings: Settings, input: Input, output: Output
) -> None:
    before, count = gr.State(first), gr.State(0)
    checkpoint, way, weights = settings.checkpoint, settings.direction, settings.weights
    checkpoint.input(
        handlers.choose, [checkpoint, before], [checkpoint, before, way, weights, input.canvas, input.note],
        concurrency_id=NETWORK, concurrency_limit=1, show_progress_on=input.note, api_visibility="private",
    )  # fmt: skip
    way.input(handlers.turn, [checkpoint, way], input.canvas, show_progress="hidden", api_visibility="private")
    input.canvas.click(
        handlers.example, [checkpoint, way, count], [input.canvas, count], show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    settings.view.input(
        handlers.show, [scene, settings.view], [output.heat, output.legend, output.summary, output.download_map],
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
