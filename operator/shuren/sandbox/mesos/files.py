"""`/files/{browse,read,download}` of an agent: what lies in sandboxes, and nothing outside them."""

from __future__ import annotations

import grp
import pwd
import stat
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from pathlib import Path

READ_LIMIT = 16 * 4096
"""Bytes in one answer of `/files/read` at most, as Mesos pages."""


class OutsideError(Exception):
    """A path that is no sandbox, or leads out of one."""


def resolve(root: Path, path: str) -> Path:
    """The real file behind a path; it must lie below the agents' directory."""
    wanted = (root / path).resolve() if not path.startswith("/") else type(root)(path).resolve()
    if not wanted.is_relative_to(root.resolve()):
        raise OutsideError(path)
    return wanted


def browse(root: Path, path: str) -> list[dict[str, Any]]:
    """Entries of a directory, as Mesos lists them. FileNotFoundError when it is none."""
    directory = resolve(root, path)
    if not directory.is_dir():
        raise FileNotFoundError(path)
    return [_entry(item, path) for item in sorted(directory.iterdir()) if not item.name.startswith((".task", ".exit"))]


def _entry(item: Path, parent: str) -> dict[str, Any]:
    info = item.lstat()
    return {
        "path": f"{parent.rstrip('/')}/{item.name}",
        "size": info.st_size,
        "nlink": info.st_nlink,
        "mode": stat.filemode(info.st_mode),
        "mtime": info.st_mtime,
        "uid": _name(info.st_uid, group=False),
        "gid": _name(info.st_gid, group=True),
    }


def _name(number: int, *, group: bool) -> str:
    try:
        return grp.getgrgid(number).gr_name if group else pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def read(root: Path, path: str, *, offset: int, length: int) -> dict[str, Any]:
    """A piece of a file. Offset -1 asks for the size only, told as the offset."""
    file = resolve(root, path)
    if not file.is_file():
        raise FileNotFoundError(path)
    if offset < 0:
        return {"data": "", "offset": file.stat().st_size}
    with file.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(min(length, READ_LIMIT) if length >= 0 else READ_LIMIT)
    return {"data": data.decode(errors="replace"), "offset": offset}


async def answer(root: Path, request: web.Request) -> web.StreamResponse:
    """One request to `/files/...`."""
    action = request.path.rstrip("/").rpartition("/")[2].removesuffix(".json")
    path = request.query.get("path", "")
    if not path:
        return web.Response(status=400, text="Expecting 'path=value' in query.\n")
    try:
        match action:
            case "browse":
                return web.json_response(browse(root, path))
            case "read":
                offset, length = int(request.query.get("offset", -1)), int(request.query.get("length", -1))
                return web.json_response(read(root, path, offset=offset, length=length))
            case "download":
                file = resolve(root, path)
                if not file.is_file():
                    raise FileNotFoundError(path)  # noqa: TRY301 - answered below like every missing file
                return web.FileResponse(file, headers={"Content-Disposition": f'attachment; filename="{file.name}"'})
            case _:
                return web.Response(status=404)
    except (FileNotFoundError, OutsideError):
        return web.Response(status=404, text="Requested path does not exist.\n")
    except ValueError:
        return web.Response(status=400, text="Failed to parse offset or length.\n")
