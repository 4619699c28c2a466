"""Every error body that a real Marathon was seen to send, and what it means to us."""

from __future__ import annotations

import json

import pytest

from shuren.clients.marathon.refusals import refuse
from shuren.domain.errors import Denied, Exists, FieldError, Gone, Invalid, Locked, ShurenError, Throttled, Unreachable
from shuren.ports.marathon import Faulted


def refusal(status: int, body: object) -> ShurenError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ShurenError) as raised:
        refuse(status, content, "PUT /v2/apps/a")
    return raised.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, b"", Denied, "refused the credentials (401)"),
        (403, {"message": "Not Authorized to perform this action!"}, Denied, "Not Authorized"),
        (403, {"message": "Max number of running deployments reached"}, Throttled, "Max number"),
        (404, {"message": "App '/a' does not exist"}, Gone, "does not exist"),
        (404, b"<html>no such page</html>", Unreachable, "is that URL a Marathon?"),
        (409, {"message": "An app with id [/a] already exists."}, Exists, "already exists"),
        (409, {"message": "App is locked", "deployments": [{"id": "d1"}, {"id": "d2"}, 5]}, Locked, "deployment d1, d2"),
        (413, b"", Invalid, "of that size"),
        (429, {"message": "slow down"}, Throttled, "slow down"),
        (500, {"message": "requirement failed: Invalid constraint"}, Invalid, "requirement failed"),
        (500, {"message": "Futures timed out after [10 seconds]"}, Faulted, "Futures timed out"),
        (500, {"message": "URI not found: /x"}, Unreachable, "URI not found"),
        (500, b"", Unreachable, "HTTP 500"),
        (503, b"Too many concurrent requests", Throttled, "no more requests at the same time"),
        (503, {"message": "Could not determine the current leader"}, Unreachable, "current leader"),
        (504, b"Gateway says: no", Unreachable, "Gateway says: no"),
        (400, b"<html>", Unreachable, "HTTP 400"),
    ],
)
def test_what_a_refusal_means(status: int, body: object, kind: type[ShurenError], words: str) -> None:
    error = refusal(status, body)
    assert type(error) is kind
    assert words in str(error)
    assert str(error).startswith("PUT /v2/apps/a")


def test_a_lock_names_its_deployments() -> None:
    error = refusal(409, {"message": "locked", "deployments": [{"id": "d1"}]})
    assert isinstance(error, Locked)
    assert error.deployments == ("d1",)


@pytest.mark.parametrize(
    ("body", "fields", "words"),
    [
        (
            {"message": "Object is not valid", "details": [{"path": "/instances", "errors": ["must be positive", "error.min"]}, "?"]},
            (FieldError(path="/instances", message="must be positive; error.min"),),
            "Object is not valid (/instances: must be positive; error.min)",
        ),
        (
            {"message": "Object is not valid", "details": [{"errors": "alone"}, {"path": "/x"}]},
            (FieldError(path="/", message="alone"), FieldError(path="/x", message="")),
            "(/: alone; /x: )",
        ),
        ({"message": "Invalid JSON", "details": "Unexpected end-of-input"}, (), "Invalid JSON (Unexpected end-of-input)"),
        ({"message": "Unknown"}, (), "Unknown"),
    ],
)
@pytest.mark.parametrize("status", [400, 415, 422])
def test_refused_input_comes_with_marathons_paths(status: int, body: object, fields: tuple[FieldError, ...], words: str) -> None:
    error = refusal(status, body)
    assert isinstance(error, Invalid)
    assert error.errors == fields
    assert words in str(error)


def test_a_throttled_write_says_when_to_come_back() -> None:
    error = refusal(403, {"message": "Max number of running deployments reached"})
    assert isinstance(error, Throttled)
    assert error.retry_after == 2.0
