"""The commands on a real control plane with an operator, as a user gives them: planned, applied, looked at, taken back."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from shuren.cli.app import app
from shuren.cli.exits import Exit
from shuren.devenv.background import Sandbox
from tenant import PATIENCE, Tenant
from waiting import eventually

Json = dict[str, Any]
MARKER = "marker-of-a-secret-value"


def web(namespace: str, **spec: Any) -> Json:
    return {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasApp",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"clusterRef": {"name": "sandbox"}, "cmd": "echo hello; sleep 1000", "cpus": 0.1, "mem": 32, **spec},
    }


class Shell:
    """A user's shell: the program, and kubectl, in one namespace."""

    def __init__(self, tenant: Tenant, directory: Path) -> None:
        self.tenant = tenant
        self.namespace = tenant.namespace
        self.kubeconfig = str(tenant.sandbox.endpoints.kubeconfig)
        self._directory = directory
        self._runner = CliRunner()

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = self._runner.invoke(app, self._here(*arguments))
        assert result.exit_code == code, (arguments, result.exit_code, result.output, result.stderr)
        return result

    def _here(self, command: str, *arguments: str) -> list[str]:
        return [command, "--kubeconfig", self.kubeconfig, "-n", self.namespace, *arguments]

    def piped(self, *arguments: str, given: str) -> str:
        """Standard output of the program as a process, with standard input from a pipe."""
        argv = [sys.executable, "-m", "shuren.cli", *self._here(*arguments)]
        return subprocess.run(argv, input=given, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "-o", "json", code=code).stdout)

    def file(self, *items: Json) -> str:
        path = self._directory / "resources.yaml"
        path.write_text(yaml.safe_dump_all(items))
        return str(path)

    def apply(self, *items: Json) -> None:
        self.tenant.kubectl("apply", "-f", self.file(*items))

    def settled(self, generation: int) -> None:
        """The newest generation is Ready, nothing is under way, and its revision is written down."""
        tenant = self.tenant

        def done() -> bool:
            status = tenant.status("web")
            revision = status.get("revision", {})
            return bool(
                tenant.app("web")["metadata"]["generation"] >= generation
                and tenant.condition("web", "Ready").get("status") == "True"
                and not tenant.condition("web", "Reconciling")
                and revision.get("target") == revision.get("lastGood") == revision.get("current")
            )

        tenant.until(done, about="web")

    def tasks(self) -> set[str]:
        return set(self.tenant.tasks("web"))


@pytest.fixture
def shell(tenant: Tenant, tmp_path: Path) -> Shell:
    return Shell(tenant, tmp_path)


def test_an_app_from_plan_to_roll_back(shell: Shell) -> None:
    first = web(shell.namespace)
    plan = shell.json("plan", "-f", shell.file(first), "--exit-code", code=Exit.FOUND)
    assert [a["action"] for a in plan["apps"][0]["now"]] == ["add-finalizer", "claim-id", "put-app"]
    assert plan["apps"][0]["tasks"]["started"] == 1
    assert "create" in shell.run("plan", "-f", shell.file(first)).stdout

    shell.apply(first)
    shell.settled(1)
    assert shell.json("plan", "--live", "--exit-code")["changes"] is False
    assert shell.json("plan", "-f", shell.file(first), "--exit-code")["changes"] is False
    assert shell.run("diff", "--exit-code").stdout.strip() == "Nothing differs."
    assert "Ready  1/1" in shell.run("status").stdout
    assert {link["verdict"] for way in shell.json("why", "web") for link in way["links"]} == {"ok"}
    eventually(lambda: "hello" in shell.run("logs", "web").stdout, seconds=PATIENCE)
    assert f"{shell.namespace}/web" in shell.run("top").stdout
    (task,) = shell.tasks()
    said = shell.run("exec", "web", "--", "sh", "-c", 'echo "$MESOS_TASK_ID"; cat stdout; exit 9', code=9)
    assert said.stdout == f"{task}\nhello\n"
    assert shell.run("exec", task, "false", code=1).stderr == ""
    assert shell.piped("exec", "-i", "web", "--", "tr", "a-z", "A-Z", given="down the wire") == "DOWN THE WIRE"

    # a change that restarts: exactly these tasks go
    before = shell.tasks()
    second = web(shell.namespace, cmd="echo second; sleep 1000", instances=2)
    plan = shell.json("plan", "-f", shell.file(second))
    assert set(plan["apps"][0]["tasks"]["replaced"]) == before
    assert plan["apps"][0]["fields"][0]["path"] == "/cmd"
    shell.apply(second)
    shell.settled(2)
    assert not shell.tasks() & before

    # a change that only scales: nobody restarts
    before = shell.tasks()
    third = web(shell.namespace, cmd="echo second; sleep 1000", instances=3)
    plan = shell.json("plan", "-f", shell.file(third))
    assert (plan["restarts"], set(plan["apps"][0]["tasks"]["kept"]), plan["apps"][0]["tasks"]["started"]) == (0, before, 1)
    shell.apply(third)
    shell.settled(3)
    assert shell.tasks() > before

    # asked for by hand: all tasks anew, with the spec untouched
    before = shell.tasks()
    shell.run("restart", "web")
    eventually(lambda: len(shell.tasks()) == 3 and not shell.tasks() & before, seconds=PATIENCE)
    assert shell.tenant.app("web")["metadata"]["generation"] == 3

    # taken back, with the spec untouched: the first revision runs, and why says so
    assert "revision 1" in shell.run("rollback", "web").stdout
    shell.tenant.until_reason("web", "RolledBack")
    found = shell.json("why", "web", code=Exit.FOUND)[0]["links"][-1]
    assert (found["link"], "was taken back: by hand" in found["evidence"]) == ("Marathon app", True)
    assert [r["state"] for r in shell.json("history", "web")] == ["Good", "Withdrawn"]
    shell.run("rollback", "web", "--undo")
    shell.settled(3)


def test_suspension_stays_out_of_git(shell: Shell) -> None:
    item = web(shell.namespace, instances=0)
    shell.apply(item)
    shell.settled(1)
    shell.run("suspend", "web")
    assert "suspend is true" in shell.run("why", "web", code=Exit.FOUND).stdout
    shell.apply(item)  # what Git holds says nothing of it, and takes nothing away
    assert shell.tenant.kubectl("get", "papp", "web", "-o", "jsonpath={.spec.management.suspend}") == "true"
    shell.run("resume", "web")
    assert shell.tenant.kubectl("get", "papp", "web", "-o", "jsonpath={.spec.management.suspend}") in {"", "false"}
    shell.apply(web(shell.namespace, instances=0, management={"suspend": True}))
    refused = shell.run("resume", "web", code=Exit.FAILED)
    assert "set suspend to false there" in refused.stderr
    shell.apply(item)  # what is suspended is not deleted either, and would hold its namespace
    shell.settled(4)


def test_values_of_secrets_are_shown_nowhere(shell: Shell) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": shell.namespace},
        "stringData": {"password": MARKER},
    }
    item = web(shell.namespace, envRefs=[{"name": "DB", "secretKeyRef": {"name": "db", "key": "password"}}])
    grant = ("--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator")
    shell.tenant.kubectl("create", "rolebinding", "shuren-secrets-reader", *grant)
    shown = [shell.run("plan", "-f", shell.file(secret, item), "-o", form).output for form in ("table", "wide", "json", "yaml")]
    shell.apply(secret, item)
    shell.settled(1)
    secret["stringData"] = {"password": f"{MARKER}-2"}
    changed = shell.run("plan", "-f", shell.file(secret, item), "-o", "wide").output
    assert "/env/DB: (secret) -> (secret)" in changed
    shell.tenant.kubectl("apply", "-f", shell.file(secret))
    shown += [changed, *(shell.run(command, "web").output for command in ("status", "history"))]
    shown += [shell.run("diff", "-o", "json").output, shell.run("plan", "--live", "-o", "json").output]
    assert [text for text in shown if MARKER in text] == []


def test_what_the_api_server_refuses_is_refused_by_the_plan(shell: Shell) -> None:
    refused = shell.run("plan", "-f", shell.file(web(shell.namespace, cpus=-1)), code=Exit.FAILED)
    assert "spec.cpus" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_live_marathon_becomes_files_that_change_nothing(shell: Shell, tmp_path: Path) -> None:
    engine, app_id = shell.tenant.engine, f"/{shell.namespace}/old"
    labels = {"HAPROXY_GROUP": "edge", "HAPROXY_0_VHOST": f"{shell.namespace}.example.org"}
    engine.ask("PUT", f"/v2/apps{app_id}", {"cmd": "exec sleep 86400", "cpus": 0.01, "mem": 16, "instances": 1, "labels": labels})
    eventually(lambda: len(engine.tasks(app_id)) == 1, seconds=PATIENCE)
    before = engine.versions(app_id), set(engine.tasks(app_id))
    files = tmp_path / "git"
    shell.run("import", "--cluster", "sandbox", "--prefix", f"/{shell.namespace}", "-d", str(files))
    plan = shell.json("plan", "-R", "-f", str(files))
    assert (plan["restarts"], [field for found in plan["apps"] for field in found["fields"]]) == (0, [])
    assert plan["apps"][0]["tasks"]["kept"] == list(before[1])
    shell.tenant.kubectl("apply", "-k", str(files))
    shell.tenant.kubectl("wait", f"papp/{shell.namespace}-old", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")
    assert (engine.versions(app_id), set(engine.tasks(app_id))) == before
    shell.tenant.kubectl("delete", "-k", str(files))


def test_resources_are_exported_as_objects_that_kubernetes_takes(shell: Shell, tmp_path: Path) -> None:
    app_ = web(
        shell.namespace, instances=0, portDefinitions=[{"port": 0, "name": "http"}], healthChecks=[{"protocol": "HTTP", "path": "/"}]
    )
    listener = {"name": "http", "protocol": "HTTP", "port": 80, "hosts": [f"{shell.namespace}.example.org"]}
    service: Json = {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasService",
        "metadata": {"name": "front", "namespace": shell.namespace},
        "spec": {
            "clusterRef": {"name": "sandbox"},
            "backends": [{"name": "main", "appRef": {"name": "web"}, "portName": "http"}],
            "loadBalancer": {"group": "edge", "listeners": [listener]},
        },
    }
    shell.apply(app_, service)
    shell.run("export", "--kubernetes", "--autoscale", "-d", str(tmp_path / "out"))
    taken = shell.tenant.kubectl("apply", "--dry-run=server", "-f", str(tmp_path / "out"))
    assert sorted(line.partition("/")[0] for line in taken.splitlines()) == [
        "deployment.apps",
        "horizontalpodautoscaler.autoscaling",
        "ingress.networking.k8s.io",
        "service",
    ]


def test_a_backup_is_complete_and_is_not_restored_under_a_leader(shell: Shell, tmp_path: Path) -> None:
    shell.apply(web(shell.namespace, instances=0))
    shell.settled(1)
    file = str(tmp_path / "backup.json")
    runner, config = CliRunner(), ("--kubeconfig", shell.kubeconfig)
    assert runner.invoke(app, ["backup", file, *config]).exit_code == 0
    saved = json.loads(Path(file).read_text())
    assert shell.tenant.app_id("web") in str([base64.b64decode(data) for data in saved["clusters"]["sandbox"]["nodes"].values()])
    assert [r for r in saved["revisions"] if r["metadata"]["namespace"] == shell.namespace]
    refused = runner.invoke(app, ["restore", file, *config])
    assert (refused.exit_code, "stop it first" in refused.stderr) == (Exit.FAILED, True)

    # a dry run only looks, so it may beside a leader
    said = runner.invoke(app, ["restore", "--dry-run", file, *config])
    assert (said.exit_code, "would be restored below /shuren/sandbox" in said.stdout) == (0, True), said.stderr


def test_it_is_a_plugin_of_kubectl(operated: Sandbox) -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), operated.endpoints.path_prefix, os.environ["PATH"]])
    environment = {**os.environ, "PATH": places, "KUBECONFIG": str(operated.endpoints.kubeconfig)}
    ran = subprocess.run(["kubectl", "shuren", "doctor", "-o", "json"], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = {item["part"]: item["health"] for item in json.loads(ran.stdout)}
    assert found["operator"] == "ok"
    assert "broken" not in found.values()
