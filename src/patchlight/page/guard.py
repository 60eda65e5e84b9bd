"""Access control and limits of storage, checked before Gradio sees a request."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

UPLOAD = "/upload"
"""How the path ends at which files are sent."""

OVERHEAD = 2**16
"""Bytes that a request has besides the file in it."""

BODY_LIMIT = 2**26
"""Bytes of a request other than an upload: drawings, of the largest canvas."""

STALE = 60.0
"""Seconds after which an upload that is no longer written to has been given up."""


class Hosts:
    """The names under which the page may be asked for.

    An attacker's page can make its own name point at this machine (DNS rebinding), after which a browser takes the two
    for one site; it cannot make an address or `localhost` its own.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = {name.lower() for name in names}

    def allow(self, host: str) -> bool:
        """Whether a Host header, with or without a port, is this page's."""
        name = _name(f"//{host}")
        if name is None or name == "localhost" or name in self.names:
            return name is not None
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def refusal(self, headers: Headers) -> str | None:
        """Why a request is refused, or None."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.allow(host):
            return (
                f"This page is not served as {host!r}. If it should be, start patchlight-demo with hosts=[NAME]; it "
                f"always is by its address and as localhost."
            )
        # Behind a proxy the host may be another one than in the browser.
        if origin is not None and origin.partition("//")[2].lower() != host.lower() and _name(origin) not in self.names:
            return f"Requests from another page ({origin!r}) are not answered."
        return None


class Uploads:
    """The folder of uploads and shown pictures, kept to `limit` bytes: the oldest go first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.coming = 0
        """Bytes of uploads that are under way."""

    def make_room(self, size: int) -> bool:
        """Remove the oldest files until there is room for `size` more bytes; whether there is."""
        files = sorted(self._files(), key=lambda file: file[1])
        stored = sum(length for _, _, length in files)
        for path, changed, length in files:
            if stored + self.coming + size <= self.limit:
                break
            # Files lie in the folder itself while they arrive, and in one of their own afterwards.
            if path.parent != self.folder or time.time() - changed > STALE:
                path.unlink(missing_ok=True)
                stored -= length
        return stored + self.coming + size <= self.limit

    def _files(self) -> list[tuple[Path, float, int]]:
        """Every file with the time of its last change and its length."""
        found = []
        for here, _, names in os.walk(self.folder):
            for path in (Path(here, name) for name in names):
                with suppress(OSError):  # removed meanwhile
                    status = path.stat()
                    found.append((path, status.st_mtime, status.st_size))
        return found


class Guard:
    """Stands before an ASGI application; `max_bytes` is what one upload may have."""

    def __init__(self, hosts: Hosts, uploads: Uploads, max_bytes: int) -> None:
        self.hosts = hosts
        self.uploads = uploads
        self.max_bytes = max_bytes

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on to the application, or refuse it with a sentence."""
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self.hosts.refusal(headers)
        if refusal is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[:100]})
        elif refusal is not None:
            await PlainTextResponse(refusal, 403)(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] in ("POST", "PUT", "PATCH"):
            await self._with_body(app, headers, scope, receive, send)
        else:
            await app(scope, receive, send)

    async def _with_body(self, app: ASGIApp, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        length = headers.get("content-length", "")
        uploading = scope["path"].rstrip("/").endswith(UPLOAD)
        limit = self.max_bytes + OVERHEAD if uploading else BODY_LIMIT
        coming = int(length) if uploading and length.isdecimal() else 0
        refusal = None
        if not length.isdecimal():
            refusal = PlainTextResponse("The length of a request must be given.", 411)
        elif int(length) > limit:
            refusal = PlainTextResponse(f"The request has {int(length)} bytes: at most {limit} are allowed.", 413)
        # Gradio puts copies of results into the same folder, so that every event may have to make room.
        elif not self.uploads.make_room(coming) and uploading:
            refusal = PlainTextResponse("Too many uploads are under way: try again in a moment.", 503)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self.uploads.coming += coming
        try:
            await app(scope, receive, send)
        finally:
            self.uploads.coming -= coming


def _name(url: str) -> str | None:
    """The name or address in a URL, without its port."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".") or None
    except ValueError:
        return None
