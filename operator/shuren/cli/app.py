"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

import shuren
from shuren.cli import actions, backup, demo, dns, doctor, execute, exporting, importing, lb, operator, plan, sandbox, shards, status, tasks

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Shuren (数人云): a declarative PaaS over Apache Mesos and Marathon.",
)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(shards.app, name="shards")
app.command("operator", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(operator.operator)
app.command("demo")(demo.demo)
app.command("lb")(lb.lb)
app.command("dns")(dns.dns)
app.command("plan")(plan.plan)
app.command("exec")(execute.exec_)
app.command("import")(importing.import_)
for command in (
    status.status,
    status.why,
    status.diff,
    status.history,
    doctor.doctor,
    exporting.export,
    backup.backup,
    backup.restore,
    tasks.logs,
    tasks.top,
    actions.restart,
    actions.rollback,
    actions.suspend,
    actions.resume,
    actions.promote,
    actions.abort,
    actions.pause,
):
    app.command()(command)


@app.command()
def version(*, short: Annotated[bool, typer.Option("--short", help="The number alone.")] = False) -> None:
    """Print the version."""
    print(shuren.__version__ if short else f"shuren {shuren.__version__}")
