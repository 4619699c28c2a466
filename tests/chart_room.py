"""Charts as a user of helm sees them: rendered, refused, linted."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shuren.api.crdgen import ROOT

CHARTS = ROOT / "charts"
Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a release would consist of."""

    bodies: list[Body]

    def one(self, kind: str, name: str = "", *, namespace: str = "") -> Body:
        """The only object of this kind (and name)."""
        found = [
            body
            for body in self.bodies
            if body["kind"] == kind and name in {"", body["metadata"]["name"]} and namespace in {"", body["metadata"].get("namespace")}
        ]
        assert len(found) == 1, f"{len(found)} of {kind} {name}: {[b['metadata']['name'] for b in self.bodies if b['kind'] == kind]}"
        return found[0]

    def names(self, kind: str) -> set[str]:
        """Names of all objects of this kind."""
        return {body["metadata"]["name"] for body in self.bodies if body["kind"] == kind}

    def rules(self, account: str) -> Iterator[tuple[str, Body]]:
        """The rules that a ServiceAccount has, each with the namespace it holds in (empty: all)."""
        for binding in self.bodies:
            if binding["kind"].endswith("Binding") and any(subject["name"] == account for subject in binding.get("subjects", ())):
                where = binding["metadata"].get("namespace", "")
                ref = binding["roleRef"]
                role = self.one(ref["kind"], ref["name"], namespace=where if ref["kind"] == "Role" else "")
                for rule in role["rules"]:
                    yield where, rule


def grants(rules: Iterator[tuple[str, Body]]) -> set[tuple[str, str, str, str, str]]:
    """Rules taken apart: (namespace, group, resource, name or empty, verb)."""
    return {
        (where, group, resource, name, verb)
        for where, rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
    }


def parsed(text: str) -> list[Body]:
    """The objects of a stream of YAML, by the C parser: charts are long, and the other one takes seconds."""
    return [body for body in yaml.load_all(text, Loader=yaml.CSafeLoader) if body]


@cache
def _bodies(helm: Helm, values: str, chart: str, release: str) -> list[Body]:
    done = helm.template(json.loads(values), chart=chart, release=release)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


@dataclass(frozen=True, kw_only=True)
class Helm:
    """helm, without any cluster."""

    program: Path
    scratch: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command; its exit status is the caller's to judge."""
        env = {
            "HOME": str(self.scratch),
            "HELM_CACHE_HOME": str(self.scratch),
            "HELM_CONFIG_HOME": str(self.scratch),
            "HELM_DATA_HOME": str(self.scratch),
        }
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False, env=env)

    def template(
        self, values: Mapping[str, Any], *, chart: str = "shuren", release: str = "shuren", namespace: str = "shuren-system"
    ) -> subprocess.CompletedProcess[str]:
        """`helm template` with these values."""
        file = self.scratch / "values.json"
        file.write_text(json.dumps(values))
        return self.run("template", release, str(CHARTS / chart), f"--namespace={namespace}", f"--values={file}")

    def render(self, values: Mapping[str, Any], *, chart: str = "shuren", release: str = "shuren") -> Rendered:
        """What these values make."""
        return Rendered(bodies=copy.deepcopy(_bodies(self, json.dumps(values, sort_keys=True), chart, release)))

    def refusal(self, values: Mapping[str, Any], *, chart: str = "shuren") -> str:
        """What helm says when it refuses these values."""
        done = self.template(values, chart=chart)
        assert done.returncode != 0, done.stdout[:500]
        return done.stderr
