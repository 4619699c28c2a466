"""Whether this host gives an address and port to HAProxy, asked before HAProxy is.

`haproxy -c` does not bind. A reload that cannot bind stops the running listeners for up to 2 s while it tries again ("Paused frontend",
seen on 2.6.12), which is not for one service to do to all others.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable


def blocked(binds: Iterable[tuple[str, int]], *, same_rights: bool) -> dict[tuple[str, int], str]:
    """Why not, for those that cannot be had. `same_rights`: HAProxy is started by us, and may do what we may."""
    return {(address, port): why for address, port in binds if (why := _why_not(address, port, same_rights=same_rights))}


def _why_not(address: str, port: int, *, same_rights: bool) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(("" if address == "*" else address, port))
            probe.listen(1)
        except OSError as error:
            return _words(error, address, port, same_rights=same_rights)
    return ""


def _words(error: OSError, address: str, port: int, *, same_rights: bool) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is in use on this load balancer by another program"
        case errno.EADDRNOTAVAIL:
            return f"{address} is no address of this load balancer"
        case errno.EAFNOSUPPORT:
            return f"this load balancer has no IPv6, so {address} cannot be had"
        case errno.EACCES if same_rights:
            return f"this load balancer has no right to open port {port}"
        case _:
            return ""
