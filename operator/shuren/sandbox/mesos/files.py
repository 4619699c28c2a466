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


class BadNumberError(Exception):
    """An offset or length that is none, in Mesos' words."""


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
    """A piece of a file. Offset -1 asks for the size only, told as the offset. IsADirectoryError and FileNotFoundError for what is none."""
    file = resolve(root, path)
    if file.is_dir():
        raise IsADirectoryError(path)
    if not file.is_file():
        raise FileNotFoundError(path)
    if offset < 0:
        return {"data": "", "offset": file.stat().st_size}
    with file.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(min(length, READ_LIMIT) if length >= 0 else READ_LIMIT)
    return {"data": data.decode(errors="replace"), "offset": offset}


def not_found() -> web.Response:
    """404 of a path that nobody serves."""
    return web.Response(status=404, text="404 Not Found.")


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "-1")
    try:
        return int(text)
    except ValueError:
        raise BadNumberError(f"Failed to parse {name}: Failed to convert '{text}' to number.\n") from None


async def answer(root: Path, request: web.Request) -> web.StreamResponse:
    """One request to `/files/...`."""
    action = request.path.rstrip("/").rpartition("/")[2]
    if action not in ("browse", "read", "download"):
        return not_found()
    path = request.query.get("path", "")
    if not path:
        return web.Response(status=400, text="Expecting 'path=value' in query.\n")
    try:
        if action == "browse":
            return web.json_response(browse(root, path))
        if action == "read":
            offset, length = _number(request, "offset"), _number(request, "length")
            return web.json_response(read(root, path, offset=offset, length=length))
        file = resolve(root, path)
        if file.is_dir():
            return web.Response(status=400, text="Cannot download a directory.\n")
        if not file.is_file():
            return not_found()
        name = {"Content-Disposition": f"attachment; filename={file.name}", "Content-Type": "application/octet-stream"}
        return web.FileResponse(file, headers=name)
    except (FileNotFoundError, OutsideError):
        return not_found() if action == "download" else web.Response(status=404)
    except IsADirectoryError:
        return web.Response(status=400, text="Cannot read a directory.\n")
    except BadNumberError as error:
        return web.Response(status=400, text=str(error))
