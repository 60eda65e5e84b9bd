"""A server of a folder over HTTP, in the test process, that can fail; it answers as one of S3 or Google, too."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class ObjectServer:
    """Serves `folder`; `wrong` are the answers to the next requests of names that contain `only`: a status, or a word.

    `cut` breaks the transfer off after half of it, and `flip` sends another bit. While it is `down` connections close
    unanswered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.only, self.delay_s, self.down = folder, "", 0.0, False
        self.wrong: list[int | str] = []
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.port = 0

    def __str__(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        name = unquote(handler.path.partition("?")[0].lstrip("/"))
        if self.down:
            handler.close_connection = True
            return
        self.asked[name.rpartition("/")[2]] += 1
        self.headers.append(dict(handler.headers.items()))
        time.sleep(self.delay_s)
        wrong = self.wrong.pop(0) if self.wrong and self.only in name else None
        path = self.folder / name
        status = wrong if isinstance(wrong, int) else 200 if path.is_file() else 404
        content = path.read_bytes() if status == 200 else b""
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        if wrong == "cut":
            content = content[: len(content) // 2]
            handler.close_connection = True
        if wrong == "flip":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if handler.command == "GET":
            handler.wfile.write(content)


@contextmanager
def serving(folder: Path) -> Iterator[ObjectServer]:
    """A server for as long as the context lasts."""
    server = ObjectServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        def do_HEAD(self) -> None:
            server.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        server.port = running.server_port
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield server
        running.shutdown()
