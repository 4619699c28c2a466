"""The server of the gated roll-out tests: answers $VERSION; a version that begins with `bad` is healthy and answers requests with 500."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ["VERSION"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bad = VERSION.startswith("bad") and self.path != "/alive"
        body = VERSION.encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    _Server((os.environ["HOST"], int(os.environ["PORT0"])), _Handler).serve_forever()
