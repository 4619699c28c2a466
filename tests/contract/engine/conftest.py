from __future__ import annotations

import socket

import pytest


@pytest.fixture
def two_free_ports() -> list[int]:
    """Two ports that were free a moment ago."""
    with socket.socket() as one, socket.socket() as two:
        for sock in (one, two):
            sock.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]
