"""What goes wrong is told in one sentence with the next step, and by the exit status; never by a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import shuren
from shuren.cli.app import app
from shuren.cli.exits import Exit
from stub_api_server import Answer, Say, answering, empty_list, kubeconfig, status

COMMANDS = (
    ["plan", "--live"], ["status"], ["why", "web"], ["diff"], ["history", "web"], ["restart", "web"], ["top"], ["logs", "web"],
    ["exec", "web", "true"], ["rollback", "web"], ["suspend", "web"], ["resume", "web"], ["promote", "web"], ["abort", "web"],
    ["pause", "web"], ["import", "--cluster", "bj1"], ["export", "--kubernetes"], ["backup", "/nonexistent/file"], ["shards", "watch"],
)  # fmt: skip


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def said(result: Result) -> str:
    """What it said on standard error: one line."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("shuren: ")
    assert "Traceback" not in result.output
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_an_api_server_that_does_not_answer(tmp_path: Path, command: list[str]) -> None:
    config = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    result = run(*command, "--kubeconfig", config)
    assert result.exit_code == Exit.FAILED
    assert "the API server did not answer" in said(result)
    assert "is it the right context" in said(result)


def _no_kind(method: str, path: str) -> Answer:
    assert method
    return (404, "404 page not found\n") if "paas.shurenyun.com" in path else empty_list()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_cluster_without_the_crds(tmp_path: Path, command: list[str]) -> None:
    with answering(_no_kind) as server:
        result = run(*command, "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == Exit.FAILED
    assert "install Shuren's CRDs first" in said(result)


def _forbidden(method: str, path: str) -> Answer:
    assert method
    return status(403, "Forbidden", f'User "ann" cannot list resource at {path}')


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_no_permission(tmp_path: Path, command: list[str]) -> None:
    with answering(_forbidden) as server:
        result = run(*command, "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == Exit.FAILED
    assert 'User "ann" cannot' in said(result)
    assert "kubectl create rolebinding" in said(result)


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (lambda _m, _p: status(401, "Unauthorized", "Unauthorized"), "your credentials are refused; log in again"),
        (lambda _m, _p: (200, "<html>a proxy</html>"), "not JSON"),
        (lambda _m, _p: (503, "upstream connect error"), "upstream connect error"),
    ],
    ids=["refused", "no API server", "away"],
)
def test_odd_answers(tmp_path: Path, say: Say, words: str) -> None:
    with answering(say) as server:
        result = run("status", "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == Exit.FAILED
    assert words in said(result)


def _old_operator(method: str, path: str) -> Answer:
    if path == "/version":
        return 200, {"gitVersion": "v1.34.1"}
    if method == "POST":
        return 201, {"kind": "SelfSubjectAccessReview", "metadata": {}, "status": {"allowed": True}}
    if path.endswith("/leases"):
        lease = {
            "metadata": {"name": "shuren-operator", "namespace": "shuren-system", "resourceVersion": "1"},
            "spec": {"holderIdentity": "operator-0", "renewTime": "2999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15},
        }
        return 200, {"kind": "LeaseList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [lease]}
    if "customresourcedefinitions/" in path:
        return 404, {"kind": "Status", "details": {"name": path.rpartition("/")[2]}}
    return empty_list()


def test_an_old_operator_and_missing_definitions_are_found_by_the_doctor(tmp_path: Path) -> None:
    with answering(_old_operator) as server:
        result = run("doctor", "-o", "json", "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == Exit.FOUND
    found = {item["part"]: item for item in json.loads(result.stdout)}
    assert found["operator"]["health"] == "broken"
    assert "upgrade the operator" in found["operator"]["mend"]
    assert found["operator's lease"]["found"] == "operator-0 leads"
    assert found["CRD paasapps.paas.shurenyun.com"]["health"] == "broken"
    assert "apply --server-side" in found["CRD paasapps.paas.shurenyun.com"]["mend"]


def _led_by(version: str) -> Say:
    """An app that runs, and an operator of some release that leads."""
    item = {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasApp",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1", "generation": 1},
        "spec": {"clusterRef": {"name": "bj1"}, "cmd": "sleep 1", "rollout": {"strategy": "Gated"}},
        "status": {"marathon": {"version": "2026-01-01T00:00:00.000Z"}, "rollout": {"phase": "Paused"}},
    }

    def say(method: str, path: str) -> Answer:
        if path.endswith("/leases"):
            code, found = _old_operator(method, path)
            found["items"][0]["metadata"]["annotations"] = {"paas.shurenyun.com/version": version}
            return code, found
        if path.endswith("/paasapps"):
            return 200, {"kind": "PaasAppList", "apiVersion": item["apiVersion"], "metadata": {"resourceVersion": "1"}, "items": [item]}
        if path.endswith("/paasapps/web"):
            return (200, item) if method == "GET" else status(500, "InternalError", "nothing was to be written")
        return empty_list()

    return say


@pytest.mark.parametrize("command", ["restart", "rollback", "suspend", "resume", "promote", "abort", "pause"])
def test_an_older_operator_is_asked_for_nothing_that_it_may_not_understand(tmp_path: Path, command: str) -> None:
    with answering(_led_by("0.0.9")) as server:
        result = run(command, "web", "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == Exit.FAILED
    assert "release 0.0.9 is older than this program's" in said(result)
    assert "upgrade the operator" in said(result)


@pytest.mark.parametrize(("version", "code"), [("0.0.9", Exit.INCOMPLETE), ("", Exit.INCOMPLETE), (shuren.__version__, Exit.DONE)])
def test_a_plan_says_that_an_older_operator_may_decide_otherwise(tmp_path: Path, version: str, code: Exit) -> None:
    with answering(_led_by(version)) as server:
        result = run("plan", "--live", "-o", "json", "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == code
    told = [one["why"] for one in json.loads(result.stdout)["unknown"] if one["about"] == "what the operator decides"]
    assert [("may decide otherwise" in why, "upgrade the operator" in why) for why in told] == [(True, True)] * (code is Exit.INCOMPLETE)


@pytest.mark.parametrize(
    ("name", "spec"),
    [("web", {"management": {"suspend": True}}), ("psvc/web", {"suspend": True}), ("shm/web", {"suspend": True})],
)
def test_every_kind_is_suspended_by_its_own_field(tmp_path: Path, name: str, spec: object) -> None:
    bodies: list[tuple[str, bytes]] = []

    def say(method: str, path: str) -> Answer:
        assert method in {"GET", "PATCH"}
        item = {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "1"}, "spec": {}}
        return (200, item) if path.endswith("/web") else empty_list()

    with answering(say, bodies=bodies) as server:
        result = run("suspend", name, "--kubeconfig", kubeconfig(tmp_path / "config", server))
    assert result.exit_code == Exit.DONE, result.stderr
    assert [json.loads(body)["spec"] for method, body in bodies if method == "PATCH"] == [spec]


def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path) -> None:
    assert "name one with --kubeconfig or KUBECONFIG" in said(run("status", "--kubeconfig", str(tmp_path / "none")))
    config = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    assert "cannot be used" in said(run("status", "--kubeconfig", config, "--context", "other"))
    (tmp_path / "text").write_text("- just: text")
    assert "kubectl config view" in said(run("status", "--kubeconfig", str(tmp_path / "text")))


def test_a_wrong_command_line_is_status_2(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    assert run("plan").exit_code == Exit.USAGE
    assert run("plan", "--live", "-f", "x.yaml").exit_code == Exit.USAGE
    assert run("plan", "-f", str(tmp_path / "none.yaml"), "--kubeconfig", config).exit_code == Exit.FAILED
    assert "is no kind of Shuren" in said(run("suspend", "deploy/web", "--kubeconfig", config))
    assert "name a command: shuren exec web --" in said(run("exec", "web"))
    assert "--tty needs --stdin" in said(run("exec", "web", "-t", "--", "sh"))
