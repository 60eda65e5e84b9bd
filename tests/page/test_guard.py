"""Requests to the page from other sites, and more uploads than it may store."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("gradio") is None:
    pytest.skip("Gradio is not installed: pip install 'patchlight[demo]'", allow_module_level=True)

from patchlight.page.guard import BODY_LIMIT, OVERHEAD, STALE, Guard, Hosts, Uploads

HOST = "127.0.0.1:7860"


def ask(guard: Guard, method: str = "GET", path: str = "/", kind: str = "http", **headers: str) -> tuple[Any, str]:
    """The status and the text of an answer; `answered` is what the application itself would say."""
    said: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.append({"type": "app", "status": 200})
        said.append({"body": b"answered"})

    async def send(message: Any) -> None:
        said.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": HOST} | headers).items()]
    scope = {"type": kind, "method": method, "path": path, "headers": raw}
    asyncio.run(guard(app, scope, None, send))  # type: ignore[arg-type]
    first = said[0]
    return first.get("status", first.get("code")), said[-1].get("body", b"").decode()


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    return Guard(Hosts(["Studio.example"]), Uploads(tmp_path, 4 * OVERHEAD), OVERHEAD)


@pytest.mark.parametrize("host", [HOST, "localhost", "LOCALHOST:1", "[::1]:7860", "192.168.1.7", "studio.example:80"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_names_of_the_page(host: str, kind: str, guard: Guard) -> None:
    assert ask(guard, kind=kind, host=host) == (200, "answered")
    assert ask(guard, kind=kind, host=host, origin=f"http://{host}") == (200, "answered")
    assert ask(guard, kind=kind, host=host, origin=f"https://{host.lower()}") == (200, "answered")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b", "[", "[::1"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_names_are_refused(host: str, method: str, guard: Guard) -> None:
    status, said = ask(guard, method, host=host, origin=f"http://{host}")
    assert status == 403
    assert said.startswith(f"This page is not served as {host!r}. ")
    assert ask(guard, method, kind="websocket", host=host) == (1008, "")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:7861", "http://localhost:7860", "file://", "http://[", ""],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_origins_are_refused(origin: str, method: str, guard: Guard) -> None:
    assert ask(guard, method, origin=origin) == (403, f"Requests from another page ({origin!r}) are not answered.")
    assert ask(guard, method, kind="websocket", origin=origin) == (1008, "")


def test_a_proxy_may_ask_by_the_address_for_a_name_that_is_known(guard: Guard) -> None:
    assert ask(guard, origin="https://studio.example") == (200, "answered")


def test_no_request_is_longer_than_allowed(guard: Guard) -> None:
    upload = "/gradio_api/upload"
    assert ask(guard, "POST", upload, content_length=str(2 * OVERHEAD)) == (200, "answered")
    assert ask(guard, "POST", upload, content_length=str(2 * OVERHEAD + 1)) == (
        413, f"The request has {2 * OVERHEAD + 1} bytes: at most {2 * OVERHEAD} are allowed."
    )  # fmt: skip
    assert ask(guard, "POST", upload + "/", content_length=str(2 * OVERHEAD + 1))[0] == 413
    assert ask(guard, "POST", "/gradio_api/queue/join", content_length=str(BODY_LIMIT + 1))[0] == 413
    for headers in ({}, {"transfer_encoding": "chunked"}, {"content_length": "-1"}):
        assert ask(guard, "POST", upload, **headers) == (411, "The length of a request must be given.")


def stored(folder: Path, name: str, size: int, age: float) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_the_oldest_uploads_make_room(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 1000)
    files = [stored(tmp_path, f"{i}/a.png", 300, 100 - i) for i in range(3)]
    arriving, given_up = stored(tmp_path, "tmp1", 50, 0), stored(tmp_path, "tmp2", 50, STALE + 50)
    assert uploads.make_room(0)
    assert all(path.exists() for path in (*files, arriving, given_up))
    assert uploads.make_room(200)
    assert [path.exists() for path in (given_up, *files, arriving)] == [False, False, True, True, True]
    uploads.coming = 600
    assert not uploads.make_room(400)
    assert [path.exists() for path in (*files, arriving)] == [False, False, False, True]
    assert Uploads(tmp_path / "nowhere", 10).make_room(10)


def test_every_event_makes_room(guard: Guard) -> None:
    files = [stored(guard.uploads.folder, f"{i}/shown.png", 2 * OVERHEAD, 100 - i) for i in range(3)]
    assert ask(guard, "POST", "/gradio_api/queue/join", content_length="20") == (200, "answered")
    assert [path.exists() for path in files] == [False, True, True]


def test_uploads_under_way_count(guard: Guard) -> None:
    guard.uploads.coming = 3 * OVERHEAD
    assert ask(guard, "POST", "/gradio_api/upload", content_length=str(OVERHEAD + 1)) == (
        503, "Too many uploads are under way: try again in a moment."
    )  # fmt: skip
    assert ask(guard, "POST", "/gradio_api/upload", content_length=str(OVERHEAD)) == (200, "answered")
    assert guard.uploads.coming == 3 * OVERHEAD
