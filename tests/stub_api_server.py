"""An API server that answers as it is told to, over plain HTTP: for what a real one shows only when something is wrong with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

Answer = tuple[int, Any]
Say = Callable[[str, str], Answer]


def status(code: int, reason: str, message: str) -> Answer:
    """As API servers refuse."""
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}


def empty_list() -> Answer:
    return 200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}


@contextmanager
def answering(say: Say, *, bodies: list[tuple[str, bytes]] | None = None) -> Iterator[str]:
    """Serve until the end of the block; gives the URL. `bodies` gets method and body of every request."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body_given = self.rfile.read(length)
            if bodies is not None:
                bodies.append((self.command, body_given))
            code, body = say(self.command, self.path.partition("?")[0])
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            with suppress(ConnectionError):  # whoever asked may have gone: one refusal is enough to give up
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - names of the library

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(path: Path, server: str, **user: Any) -> str:
    """A kubeconfig for it; gives its path."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)
