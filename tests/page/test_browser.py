"""The command's page as its user sees it, in Chromium."""

from __future__ import annotations

import http.client
import importlib.util
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from patchlight.inference.loading import TrainedModel
from patchlight.page.intake import FACADES

if TYPE_CHECKING:
    from playwright.sync_api import Page

Save = Callable[..., Path]
SLOW = 60_000
"""Milliseconds to wait for what takes a moment on a busy machine."""


@pytest.fixture
def served(save: Save, tmp_path: Path) -> Iterator[str]:
    """The address of the real command, which is ended like a user does."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("Gradio is not installed: pip install 'patchlight[demo]'")
    ckpt = save("facades.ckpt", "pix2pix", "data.root=sets/facades", "data.direction=BtoA", ema=True)
    command = [
        sys.executable,
        "-m",
        "patchlight",
        "demo",
        f"ckpt={ckpt}",
        "device=cpu",
        "max_mib=1",
        "max_pixels=10000",
    ]
    command.append("max_stored_mib=2")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout or ()], daemon=True)
    reader.start()
    said = lines.get(timeout=90)
    try:
        assert said.startswith("Patchlight's page: http://127.0.0.1:"), said
        yield said.split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        reader.join(timeout=10)
        output = [lines.get_nowait() for _ in range(lines.qsize())]
        assert output == ["Ctrl-C ends it.\n", "\n"]
        assert list(tmp_path.glob("patchlight-demo-*")) == []
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=10)
        process.stdout.close()


@pytest.fixture
def page(served: str) -> Iterator[Page]:
    """The page, which may neither complain nor ask anybody else for anything."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    complaints: list[str] = []
    requests: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(SLOW)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(served)
        page.wait_for_selector("#pl-upload input[type=file]", state="attached")
        yield page
        browser.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((served, "data:", "blob:"))] == []


def download(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as coming:
        page.click(button)
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def picture(page: Page, place: str) -> str:
    """The address of the picture that is shown there."""
    return str(page.evaluate("place => document.querySelector(place + ' img').src", place))


def wait_for_another(page: Page, place: str, before: str) -> None:
    page.wait_for_function(
        "([place, before]) => { const i = document.querySelector(place + ' img'); return i && i.src !== before; }",
        arg=[place, before],
    )


def replace_upload(page: Page, path: Path) -> None:
    if page.locator("#pl-upload .file-preview").count():
        page.click('#pl-upload button[aria-label="Clear"]')
        page.wait_for_selector("#pl-upload .file-preview", state="detached")
    page.set_input_files("#pl-upload input[type=file]", path)


@pytest.mark.slow
def test_upload_translate_draw_and_what_is_too_large(page: Page, tmp_path: Path) -> None:
    translate = TrainedModel(tmp_path / "facades.ckpt").translator(direction="BtoA", device="cpu")
    noise = np.random.default_rng(0).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "my house.png")

    # An upload is translated at once, and what is downloaded is what the Translator makes of it.
    page.set_input_files("#pl-upload input[type=file]", tmp_path / "my house.png")
    page.wait_for_selector("#pl-map img")
    result = download(page, "#pl-download", tmp_path)
    assert result.name == "my_house_BtoA_facades.png"
    assert np.array_equal(pixels(result), translate(noise))
    assert "of 34x46 patches taken for real" in page.inner_text("#pl-verdict")

    # The patch map over the result, over the input, and none.
    over_result = pixels(download(page, "#pl-download-map", tmp_path))
    shown = picture(page, "#pl-map")
    page.locator("#pl-view").get_by_text("Input").click()
    wait_for_another(page, "#pl-map", shown)
    over_input = pixels(download(page, "#pl-download-map", tmp_path))
    assert over_result.shape == over_input.shape == (144, 192, 3)
    assert not np.array_equal(over_result, over_input)
    page.locator("#pl-view").get_by_text("Off").click()
    page.wait_for_selector("#pl-map img", state="detached")
    page.locator("#pl-view").get_by_text("Result").click()
    page.wait_for_selector("#pl-map img")

    # The image beside a real one.
    page.locator("#pl-compare").get_by_text("Compare with").click()
    page.set_input_files("#pl-real input[type=file]", tmp_path / "my house.png")
    page.wait_for_selector("#pl-real-map img")
    assert page.inner_text("#pl-compared").count("mean score") == 2
    page.click('#pl-real button[aria-label="Clear"]')
    page.wait_for_selector("#pl-real-map img", state="detached")

    # A rectangle of windows and a stroke of door, in the label map's own colours.
    page.get_by_role("tab", name="Draw").click()
    box = page.locator("#pl-canvas canvas").bounding_box()
    assert box is not None
    scale = box["width"] / 64

    def drag(*points: tuple[int, int]) -> None:
        for index, (x, y) in enumerate(points):
            page.mouse.move(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale, steps=4)
            if index == 0:
                page.mouse.down()
        page.mouse.up()

    drag((10, 20), (29, 39))
    page.locator("#pl-canvas").get_by_text("Brush").click()
    page.locator("#pl-canvas").get_by_text("door").click()
    drag((40, 50), (56, 44))
    drawn = page.evaluate(
        "() => { const c = document.querySelector('#pl-canvas canvas');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
    )
    drawing = np.array(drawn, np.uint8).reshape(64, 64, 4)[..., :3]
    assert (drawing[20:40, 10:30] == FACADES.colours["window"]).all()
    assert (drawing[50, 40] == FACADES.colours["door"]).all()
    assert np.array_equal(FACADES.snapped(drawing), drawing)
    assert {tuple(c) for c in drawing.reshape(-1, 3).tolist()} == {
        FACADES.colours[name] for name in ("background", "window", "door")
    }
    shown = picture(page, "#pl-result")
    page.click("#pl-translate")
    wait_for_another(page, "#pl-result", shown)
    result = download(page, "#pl-download", tmp_path)
    assert result.name == "drawing_BtoA_facades.png"
    assert np.array_equal(pixels(result), translate(drawing))

    # Too many bytes, too many pixels, no image: a message each, and the page goes on.
    page.get_by_role("tab", name="Upload").click()
    (tmp_path / "large.png").write_bytes((tmp_path / "my house.png").read_bytes() + bytes(2**20))
    replace_upload(page, tmp_path / "large.png")
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").first.wait_for()
    Image.new("RGB", (200, 100)).save(tmp_path / "many.png")
    replace_upload(page, tmp_path / "many.png")
    page.get_by_text("The image has 200x100 pixels").first.wait_for()
    (tmp_path / "none.png").write_bytes(b"this is no image")
    replace_upload(page, tmp_path / "none.png")
    page.get_by_text("The file cannot be read as an image").first.wait_for()
    shown = picture(page, "#pl-result")
    replace_upload(page, tmp_path / "my house.png")
    wait_for_another(page, "#pl-result", shown)
    assert np.array_equal(pixels(download(page, "#pl-download", tmp_path)), translate(noise))


def multipart(content: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.slow
def test_other_sites_and_too_many_uploads(served: str, tmp_path: Path) -> None:
    """Of the command itself, as Gradio would answer other origins (CORS) if it were asked."""

    def request(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str, list[str]]:
        connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=60)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = (
            answer.status,
            answer.read().decode("utf-8", "replace"),
            [name.lower() for name, _ in answer.getheaders()],
        )
        connection.close()
        return found

    status, said, _ = request("GET", "/config")
    assert (status, '"components"' in said) == (200, True)
    preflight = {"Access_Control_Request_Method": "POST"}
    for method, path, more in (("GET", "/config", {}), ("OPTIONS", "/gradio_api/queue/join", preflight)):
        for names in ({"Host": "evil.example", "Origin": "http://evil.example"}, {"Origin": "http://evil.example"}):
            status, said, headers = request(method, path, **names, **more)
            assert status == 403
            assert "evil.example" in said
            assert not [name for name in headers if name.startswith("access-control")]
    for i in range(4):
        body, given = multipart(bytes([i]) * 900_000)
        status, said, _ = request("POST", "/gradio_api/upload", body, **given)
        assert status == 200, said
    kept = [path for path in tmp_path.glob("patchlight-demo-*/gradio/**/*") if path.is_file()]
    assert sorted(path.read_bytes()[0] for path in kept) == [2, 3]
    body, given = multipart(bytes(2**20 + 2**17))
    assert request("POST", "/gradio_api/upload", body, **given)[0] == 413
