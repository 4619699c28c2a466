"""`shuren operator`: the reconciler process."""

from __future__ import annotations

import sys

import typer


def operator(context: typer.Context) -> None:
    """Run the operator. Settings come from the environment: KUBECONFIG and SHUREN_*."""
    from shuren.operator import run  # noqa: PLC0415 - only this command loads kopf

    sys.exit(run(context.args))
