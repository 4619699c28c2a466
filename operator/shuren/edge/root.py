"""The root of an installation in ZooKeeper, as whoever starts an edge program names it."""

from __future__ import annotations

from shuren.domain.errors import FieldError, Invalid


def check_root(root: str) -> None:
    """Invalid when it cannot be one."""
    if not root.startswith("/") or root.endswith("/") or "//" in root:
        message = f"{root!r} is no root: such as /shuren/bj1, as in MesosCluster.spec.zookeeper.root"
        raise Invalid(message, errors=(FieldError(path="--root", message=message),))
