"""Mesos' fetcher: brings `file:` and `http(s):` URIs into a task's sandbox, and unpacks archives."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shuren.sandbox.contract import Json

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
TIMEOUT = 120.0


class FetchError(Exception):
    """An URI could not be fetched; the message says which and why."""


async def fetch_all(entries: Iterable[Json], directory: Path) -> None:
    """Fetches in order. FetchError at the first that fails."""
    for entry in entries:
        try:
            target = await _bring(entry, directory)
            await asyncio.to_thread(_finish, entry, target, directory)
        except (OSError, ValueError, aiohttp.ClientError, TimeoutError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise FetchError(f"{entry['uri']}: {error or type(error).__name__}") from error


async def _bring(entry: Json, directory: Path) -> Path:
    parts = urlsplit(entry["uri"])
    name = entry.get("destPath") or Path(unquote(parts.path)).name or "download"
    target = (directory / name).resolve()
    if not target.is_relative_to(directory.resolve()):  # noqa: ASYNC240 - one look at the local disk
        raise ValueError("destPath leads out of the sandbox")
    target.parent.mkdir(parents=True, exist_ok=True)
    match parts.scheme:
        case "file" | "":
            await asyncio.to_thread(shutil.copyfile, unquote(parts.path), target)
        case "http" | "https":
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(entry["uri"]) as answer:
                if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
                    raise ValueError(f"the server answered {answer.status}")
                with target.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(65_536):
                        file.write(chunk)
        case other:
            raise ValueError(f"a fetcher for {other}: does not exist here (file, http and https do)")
    return target


def _finish(entry: Json, target: Path, directory: Path) -> None:
    if entry.get("executable"):
        target.chmod(0o755)
    elif entry.get("extract", True) and target.name.endswith(ARCHIVES):
        if target.suffix == ".zip":
            with zipfile.ZipFile(target) as archive:
                archive.extractall(directory)  # noqa: S202 - zipfile strips absolute and parent parts itself
        else:
            with tarfile.open(target) as archive:
                archive.extractall(directory, filter="data")
