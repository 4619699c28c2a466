"""What a real Marathon 1.11.24 answered: nothing that it took is refused; what it refused is refused unless only it could know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

import app_corpus
from shuren.api.v1alpha1 import paasapp

RECORDED: list[dict[str, Any]] = json.loads((app_corpus.FOLDER / "recorded.json").read_text(encoding="utf-8"))
ACCEPTED = [case["definition"] for case in RECORDED if case["accepted"]]
REFUSED = [(case["definition"], case["words"]) for case in RECORDED if not case["accepted"]]
ONLY_MARATHON_KNOWS = (
    "is not enabled",  # its features
    "requires the secrets feature",
    "expected one of: [",  # its roles
    "can only contain",
    "cannot have the role *",  # its --mesos_role
    "Network name must be specified",  # its --default_network_name
    "is not a valid regular expression",  # Java's
    "URI has invalid syntax",
    "same identifier",  # the other apps
    "cyclic dependencies",
    "error.expected.jsstring",  # id: null is no id, so the default
    "error.expected.jsobject",  # env {A: null}: the API server drops nulls, so the models do
)


def _accepted(definition: dict[str, Any]) -> bool:
    try:
        paasapp.read(app_corpus.paas_app("a", definition))
    except ValidationError:
        return False
    return True


def test_the_recording_is_there() -> None:
    assert len(ACCEPTED) == 70
    assert len(REFUSED) == 131


@pytest.mark.parametrize("definition", ACCEPTED, ids=lambda definition: json.dumps(definition)[:60])
def test_what_marathon_took_is_taken(definition: dict[str, Any]) -> None:
    assert _accepted(definition)


@pytest.mark.parametrize(("definition", "words"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_marathon_refused_is_refused_unless_only_it_can_know(definition: dict[str, Any], words: list[str]) -> None:
    if _accepted(definition):
        assert any(known in word for known in ONLY_MARATHON_KNOWS for word in words), words
