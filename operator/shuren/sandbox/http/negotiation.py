"""What a request accepts and carries, and what its query says."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from shuren.sandbox.definition.errors import ApiError, refused

from .answers import page


def _reject(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_reject)


_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf'\s*{_NAME}\s*/\s*{_NAME}\s*(?:;\s*(?:{_NAME}\s*=\s*(?:{_NAME}|"[^"]*")\s*)?)*')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BRACE = re.compile(r"[^?]*[{}]")
_QUALITY = re.compile(r"\s*(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?|\.\d{1,3})\s*")


def unreadable(request: web.BaseRequest) -> web.Response | None:
    """400 of the servlet container for a content type, or a list of accepted ones, that is none, and for braces in the path."""
    kind = request.headers.get("Content-Type")
    if (kind is not None and _MEDIA_TYPE.fullmatch(kind) is None) or _BRACE.match(request.raw_path):
        return page(400, "Bad Request", path=request.path)
    for header in request.headers.getall("Accept", []):
        for part in filter(None, (part.strip() for part in header.split(","))):
            name, *parameters = part.split(";")
            qualities = [value for key, _, value in (p.partition("=") for p in parameters) if key.strip() == "q"]
            if not name.strip() or not all(_QUALITY.fullmatch(value) for value in qualities):
                return web.Response(status=400)
    return None


def accepted(request: web.BaseRequest) -> list[tuple[str, float]]:
    """The media types of all Accept headers with their quality, best first; none at all accepts everything. As in Jersey a quality of 0
    is the last choice, not a refusal, and a type without subtype stands for all of its kind.
    """
    ranges = []
    given = [header for header in request.headers.getall("Accept", []) if header.strip()]
    for header in given or ["*/*"]:
        for part in header.split(","):
            kind, *parameters = (piece.strip() for piece in part.split(";"))
            quality = 1.0
            for parameter in parameters:
                name, _, value = parameter.partition("=")
                if name.strip() == "q":
                    quality = _quality(value)
            if kind:
                ranges.append((kind.lower() if "/" in kind else f"{kind.lower()}/*", quality))
    return sorted(ranges, key=lambda entry: -entry[1])


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def require_accepted(request: web.BaseRequest, produced: str) -> None:
    """406 unless what the resource produces is welcome."""
    if not any(kind in ("*/*", f"{produced.partition('/')[0]}/*", produced) for kind, _ in accepted(request)):
        raise refused(406, "Not Acceptable")


def require_json_body(request: web.BaseRequest) -> None:
    """415 when a body is announced as something else. Saying nothing is fine."""
    kind = request.headers.get("Content-Type")
    if kind is not None and kind.split(";")[0].strip().lower() not in ("application/json", "application/*", "*/*"):
        raise refused(415, "Unsupported Media Type")


def flag(request: web.BaseRequest, name: str, *, default: bool = False) -> bool:
    """A boolean of the query: `true` in any case, nothing for the default, everything else counts as false."""
    value = request.query.get(name, "")
    return value.lower() == "true" if value.strip() else default


def parse_body(body: bytes) -> Any:
    """The JSON value in a body, in any of the encodings of Unicode; what follows it is not looked at. 400 for none and for what is no JSON.

    Half a surrogate pair, which no text can hold, becomes a question mark, as in what Java writes.
    """
    try:
        text = body.decode(json.detect_encoding(body)).lstrip(" \t\r\n")
        if not text:
            where = '\n at [Source: (byte[])""; line: 1, column: 0]'
            details = f"No content to map due to end-of-input{where}"
            raise ApiError(400, {"message": "Please specify data in JSON format", "details": details})
        value, _ = _decoder.raw_decode(text)
        if _SURROGATE.search(text):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, {"message": "Invalid JSON", "details": str(error)}) from None
    return value
