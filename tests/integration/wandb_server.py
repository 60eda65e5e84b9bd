"""A W&B server of this machine, which works, is silent, or refuses: from the beginning or once a run has begun."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Behaviour = Literal["works", "is silent"] | int
"""An integer is the HTTP status that everything is answered with."""


@dataclass
class Server:
    """What a server is asked, and how it behaves `at_first` and, once a run has begun, `then`."""

    at_first: Behaviour
    then: Behaviour
    url: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    begun: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def answer(self, body: bytes) -> tuple[int, Any]:
        """Status and content of the answer to a request."""
        behaviour = self.then if self.begun else self.at_first
        if behaviour == "is silent":
            self.closed.wait()
        if isinstance(behaviour, int):
            return behaviour, {"error": "no"}
        try:
            content = json.loads(body)
        except ValueError:
            return 200, {}
        query = content.get("query", "")
        if "mutation UpsertBucket" in query:
            self.begun = True
            project = {"id": "p", "name": "patchlight", "entity": {"id": "e", "name": "someone"}}
            bucket = {"id": "b", "name": content["variables"]["name"], "displayName": "d", "config": "{}"}
            bucket["project"] = project
            return 200, {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "mutation CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in content["variables"]["files"]]
            return 200, {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        for name, part in content.get("files", {}).items():
            if name == "wandb-history.jsonl":
                self.rows += [json.loads(line) for line in part["content"]]
        return 200, {"data": {"model": None}}


@contextmanager
def wandb_server(at_first: Behaviour, then: Behaviour | None = None) -> Iterator[Server]:
    """A server at a port of its own, for as long as the block lasts."""
    server = Server(at_first, at_first if then is None else then)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = server.answer(body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.do_POST()

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closed.set()
            http.shutdown()
            thread.join()
