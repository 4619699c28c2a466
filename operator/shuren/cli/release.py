"""Whether the operator that leads is one that this program understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.cli.exits import Failed

if TYPE_CHECKING:
    from shuren.cli.session import Session
    from shuren.domain.doctor import Finding


async def older_operator(connection: Session) -> Finding | None:
    """What is to be mended when an operator leads whose release is older than this program's, or that does not tell it. None when there is
    none, or when nobody may know: leases are not everybody's to read.
    """
    import shuren  # noqa: PLC0415 - what only some commands need
    from shuren.domain.doctor import older_release  # noqa: PLC0415
    from shuren.domain.errors import Denied  # noqa: PLC0415
    from shuren.ports.kubernetes import LEASES  # noqa: PLC0415
    from shuren.ports.leadership import LEASE_NAME, VERSION_ANNOTATION  # noqa: PLC0415

    try:
        page = await connection.kubernetes.list(LEASES)
    except Denied:
        return None
    for item in page.items:
        if item["metadata"]["name"] == LEASE_NAME and (item.get("spec") or {}).get("holderIdentity"):
            theirs = str((item["metadata"].get("annotations") or {}).get(VERSION_ANNOTATION) or "")
            found = older_release(ours=shuren.__version__, theirs=theirs)
            if found is not None:
                return found
    return None


async def need_no_older_operator(connection: Session) -> None:
    """Failed when an older operator leads, which may not understand what it would be asked for."""
    found = await older_operator(connection)
    if found is not None:
        raise Failed(f"the operator may not understand this command, for {found.found}: {found.mend}")
