"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from shuren.cli.output import Format

Kubeconfig = Annotated[str, typer.Option("--kubeconfig", help="Kubeconfig file. Default: KUBECONFIG, else ~/.kube/config.")]
Context = Annotated[str, typer.Option("--context", help="Context of the kubeconfig. Default: its current one.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace. Default: that of the context.")]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="table, wide, json or yaml.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
