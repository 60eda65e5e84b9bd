"""The layout of the page: its components, theme and server."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import gradio as gr
from gradio.routes import App, ORJSONResponse
from starlette.types import Receive, Scope, Send

from patchlight.page.catalogue import DIRECTIONS, Catalogue, Choice
from patchlight.page.guard import Guard
from patchlight.page.handlers import Components, Handlers
from patchlight.page.intake import Limits, Setting
from patchlight.page.studio import Studio

HEAD = (
    '<div class="pl-head"><h1>Patchlight</h1><p>Translate an image, and see which patches the discriminator '
    "takes for real.</p></div>"
)
EMPTY = '<div class="pl-empty"><div><b>{}</b><br>{}</div></div>'
WAITING = 16
"""How many may wait for the network."""

HOUR = 3600
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "DejaVu Sans Mono", "monospace")


def build_page(choices: Sequence[Choice], studio: Studio, limits: Limits, palette: Setting) -> gr.Blocks:
    """The page, with the first usable checkpoint chosen.

    Raises:
        DataError: none of the checkpoints can be used.
    """
    catalogue = Catalogue(choices, studio.models, palette)
    page = gr.Blocks(title="Patchlight", analytics_enabled=False, fill_width=True, delete_cache=(HOUR, HOUR))
    with page:
        components = _components(catalogue, limits)
        Handlers(components, catalogue, studio, limits).connect()
    return page


def _components(catalogue: Catalogue, limits: Limits) -> Components:
    """The page from top to bottom: the settings; what is translated, the result and its patch map; the comparison."""
    first = catalogue.loaded(catalogue.first)
    gr.HTML(HEAD)
    with gr.Row(elem_classes="pl-settings"):
        checkpoint = gr.Dropdown(
            catalogue.labels, value=catalogue.first, label="Checkpoint", elem_id="pl-checkpoint", scale=3
        )
        direction = gr.Radio(
            [(DIRECTIONS[one], one) for one in first.directions], value=first.directions[0], label="Direction",
            elem_id="pl-direction", scale=2,
        )  # fmt: skip
        weights = gr.Radio(list(first.weights), value=first.weights[0], label="Weights", elem_id="pl-weights", scale=2)
        view = gr.Radio(
            [("Result", "result"), ("Input", "input"), ("Off", "off")], value="result", label="Patch map over",
            elem_id="pl-view", scale=3,
        )  # fmt: skip
    with gr.Row():
        with gr.Column(min_width=300):
            with gr.Tabs():
                with gr.Tab("Upload"):
                    upload, given = _upload("pl-upload", limits)
                with gr.Tab("Draw"):
                    canvas = gr.HTML(
                        catalogue.canvas(catalogue.first, first.directions[0]),
                        html_template='<div class="pl-paint"></div>',
                        js_on_load=(files("patchlight.page") / "canvas.js").read_text(encoding="utf-8"),
                        elem_id="pl-canvas",
                        apply_default_css=False,
                    )
            translate = gr.Button("Translate", variant="primary", elem_id="pl-translate")
            note = gr.HTML(catalogue.note(catalogue.first))
        with gr.Column(min_width=300):
            gr.HTML('<h2 class="pl-title">Result</h2>')
            empty = gr.HTML(EMPTY.format("Nothing translated yet", "Upload an image, or draw one and translate it."))
            result = _picture("pl-result")
            download = gr.DownloadButton("Download result", interactive=False, elem_id="pl-download")
        with gr.Column(min_width=300):
            gr.HTML('<h2 class="pl-title">Patch map</h2>')
            no_map = gr.HTML(EMPTY.format("No patch map yet", "Red is what it takes for fake, blue for real."))
            heat = _picture("pl-map")
            legend = gr.HTML(visible=False)
            summary = gr.HTML(visible=False, elem_id="pl-verdict")
            download_map = gr.DownloadButton("Download patch map", interactive=False, elem_id="pl-download-map")
    with gr.Accordion("Compare with a real image", open=False, elem_id="pl-compare"):
        with gr.Row():
            with gr.Column(min_width=300):
                real, real_given = _upload("pl-real", limits)
            with gr.Column(min_width=300):
                real_heat = _picture("pl-real-map", "Real image, judged")
            with gr.Column(min_width=300):
                fake_heat = _picture("pl-fake-map", "Translation, on the same scale")
        with gr.Row():
            compared = gr.HTML(elem_id="pl-compared")
            common_legend = gr.HTML(visible=False)
    return Components(
        checkpoint=checkpoint, direction=direction, weights=weights, view=view, upload=upload, given=given,
        canvas=canvas, translate=translate, note=note, empty=empty, result=result, download=download, no_map=no_map,
        heat=heat, legend=legend, summary=summary, download_map=download_map, real=real, real_given=real_given,
        real_heat=real_heat, fake_heat=fake_heat, common_legend=common_legend, compared=compared,
        scene=gr.State(None), before=gr.State(catalogue.first), count=gr.State(0),
    )  # fmt: skip


class GuardedApp(App):
    """Gradio's application behind a guard, which also stands before what Gradio says to other origins (CORS)."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(default_response_class=ORJSONResponse)
        self.guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.guard(super().__call__, scope, receive, send)


def launch(page: gr.Blocks, *, guard: Guard, folder: Path, host: str, port: int, open_browser: bool) -> str:
    """Start serving the page in the background; returns its address."""
    page.queue(max_size=WAITING, api_open=False)
    _, url, _ = page.launch(
        prevent_thread_lock=True, quiet=True, share=False, inbrowser=open_browser, server_name=host, server_port=port,
        max_file_size=guard.max_bytes, show_error=True, footer_links=[], run_history=False, enable_monitoring=False,
        ssr_mode=False, pwa=False, mcp_server=False, allowed_paths=[str(folder)], theme=_theme(),
        _app=GuardedApp(guard), css_paths=[Path(str(files("patchlight.page") / "page.css"))],
    )  # fmt: skip
    return url


def _upload(name: str, limits: Limits) -> tuple[gr.File, gr.Image]:
    """A place for a file, and one for its picture once it has been looked at.

    An image component would decode the file before its size is known.
    """
    upload = gr.File(
        file_types=["image"], type="filepath", show_label=False, elem_id=name, elem_classes=["pl-drop"], buttons=[],
    )  # fmt: skip
    gr.HTML(f'<p class="pl-note pl-limits">Up to {limits}</p>')
    return upload, _picture(f"{name}-shown")


def _picture(name: str, label: str = "") -> gr.Image:
    return gr.Image(
        type="filepath", interactive=False, visible=False, show_label=bool(label), label=label or None, elem_id=name,
        elem_classes=["pl-picture"], buttons=["fullscreen"],
    )  # fmt: skip


def _theme() -> gr.themes.Base:
    """Fonts of the system: the page asks nobody for any."""
    return gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=FONT, font_mono=MONO,
    ).set(
        body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400",
        body_background_fill="*neutral_50", body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600", button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
    )  # fmt: skip
