"""Answers as Marathon sends them: JSON bodies, deployment results, errors of every kind and the pages of its servlet container."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from aiohttp import web

from shuren.sandbox.contract import Locked, TooManyDeployments
from shuren.sandbox.definition.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuren.sandbox.contract import Started

JSON = "application/json"
FORESEEN = (ApiError, Locked, TooManyDeployments)
"""What handlers raise on purpose; anything else is a fault of this program."""
_SERVLET_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"})


def encode(value: Any) -> bytes:
    """JSON as Marathon prints it: no blanks, plain Unicode, doubles with a fraction. A number beyond all doubles is the text "Infinity"."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False).encode()


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case _:
            return value


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=encode(value), status=status, headers={"Content-Type": JSON, **(headers or {})})


def raw_json_answer(body: bytes) -> web.Response:
    """A JSON answer that is encoded already."""
    return web.Response(body=body, headers={"Content-Type": JSON})


def text_answer(text: str, content_type: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that is not JSON; the content type goes out as it is given."""
    return web.Response(body=text.encode(), status=status, headers={"Content-Type": content_type, **(headers or {})})


def deployed(started: Started, *, status: int = 200, location: str | None = None) -> web.Response:
    """The answer to what began a deployment."""
    headers = {"Marathon-Deployment-Id": started.deployment_id} | ({"Location": location} if location is not None else {})
    return json_answer({"version": started.version, "deploymentId": started.deployment_id}, status=status, headers=headers)


def page(status: int, reason: str, *, path: str = "/", headers: Mapping[str, str] | None = None) -> web.Response:
    """An error page of the servlet container, which answers in HTML where Marathon's own code does not get a word."""
    body = (
        '<html>\n<head>\n<meta http-equiv="Content-Type" content="text/html;charset=ISO-8859-1"/>\n'
        f"<title>Error {status} {reason}</title>\n"
        f"</head>\n<body><h2>HTTP ERROR {status}</h2>\n"
        f"<p>Problem accessing {path}. Reason:\n<pre>    {reason}</pre></p>\n</body>\n</html>\n"
    )
    given = {"Content-Type": "text/html;charset=iso-8859-1", **(headers or {})}
    return web.Response(body=body.encode(), status=status, reason=reason, headers=given)


def bad_message(status: int, reason: str) -> web.Response:
    """What the servlet container says to what is no request that it would hand on."""
    body = f"<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>"
    return web.Response(body=body.encode(), status=status, reason=reason, headers={"Content-Type": "text/html;charset=iso-8859-1"})


def unsupported(method: str, path: str) -> web.Response:
    """405 of a servlet, 501 for methods that none has. There is a page only with methods whose answers are for reading."""
    if method not in _SERVLET_METHODS:
        return web.Response(status=501, reason=f"Method {method} is not defined in RFC 2068 and is not supported by the Servlet API")
    reason = f"{'Http' if method == 'DELETE' else 'HTTP'} method {method} is not supported by this URL"
    return page(405, reason, path=path) if method in ("GET", "HEAD", "POST") else web.Response(status=405, reason=reason)


def error_answer(error: ApiError) -> web.Response:
    """An error that the definition or HTTP room has raised."""
    if isinstance(error.body, str):
        return text_answer(error.body, error.headers.get("Content-Type", "text/plain"), status=error.status)
    return json_answer(error.body, status=error.status, headers=error.headers)


def from_exception(error: Exception) -> web.Response:
    """The answer to whatever a handler raised; what is not foreseen is a 500 with the text, as a real one does."""
    match error:
        case ApiError():
            return error_answer(error)
        case Locked():
            holding = [{"id": deployment_id} for deployment_id in error.deployment_ids]
            return json_answer({"message": str(error), "deployments": holding}, status=409)
        case TooManyDeployments():
            return json_answer({"message": str(error)}, status=403)
        case _:
            return json_answer({"message": str(error)}, status=500)
