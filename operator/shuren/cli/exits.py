"""Exit statuses and how a command ends badly: one sentence on standard error, with the next step in it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, TypeVar

import typer

from shuren.domain.errors import Denied, Gone, ShurenError, Unreachable

T = TypeVar("T")


class Exit(IntEnum):
    """DONE: done, or nothing to do. FAILED: it could not be done. USAGE: the command line is wrong (typer's own).

    FOUND: it worked, and found what it was to look for: changes (`plan --exit-code`), drift (`diff --exit-code`), a broken link (`why`),
    something to mend (`doctor`). INCOMPLETE: part of the world could not be read, so that the answer is not the whole answer.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    FOUND = 3
    INCOMPLETE = 4


class Failed(ShurenError):
    """A command's own refusal, in a sentence that says what to do."""


def fail(sentence: str, *, code: Exit = Exit.FAILED) -> typer.Exit:
    """Say it, and give what is to be raised."""
    typer.echo(f"shuren: {sentence}", err=True)
    return typer.Exit(code)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what this product raises on purpose becomes a sentence."""
    try:
        return asyncio.run(work)
    except ShurenError as error:
        raise fail(sentence(error)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


_GROUP = "paas.shurenyun.com"


def sentence(error: ShurenError) -> str:
    """What went wrong and what to do, in one line."""
    text = " ".join(str(error).split()).rstrip(".")
    match error:
        case Gone() if text.startswith("list ") or "page not found" in text:
            kind = text.split()[1].rstrip(":")
            return (
                f"this cluster does not know {kind}.{_GROUP}: install Shuren's CRDs first "
                "(helm install, or kubectl apply --server-side -f crds/), or choose another cluster with --context"
            )
        case Denied() if "Unauthorized" in text or "token" in text:
            return f"{text}: your credentials are refused; log in again, or choose another user with --context"
        case Denied():
            return (
                f"{text}; ask for the right, for example: kubectl create rolebinding shuren-view --clusterrole=shuren-viewer "
                "--user=YOU -n NAMESPACE (shuren doctor lists all that is missing)"
            )
        case Unreachable() if "API server" in text:
            return f"{text}; is it the right context (--context, KUBECONFIG), and does `kubectl get --raw /readyz` answer?"
        case _:
            return text
