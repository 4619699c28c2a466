"""PaasApps and PaasServices as plain Kubernetes objects."""

from __future__ import annotations

from typing import Any

import pytest

import app_corpus
from kubernetes_schemas import VERSIONS
from kubernetes_schemas import problems as problems_in
from shuren.domain.exporting import services, workloads

Json = dict[str, Any]


def problems(item: Json) -> list[str]:
    """What the newest Kubernetes has against an object."""
    return problems_in(VERSIONS[-1], item)


@pytest.mark.parametrize("name", sorted(app_corpus.good()))
def test_every_app_of_the_corpus_becomes_a_deployment_that_kubernetes_takes(name: str) -> None:
    found = workloads.workload(app_corpus.good()[name], namespace="shop", name="web")
    (deployment,) = found.objects
    assert problems(deployment) == []


def test_what_pods_can_express_is_kept() -> None:
    definition: Json = {
        "cmd": "exec serve",
        "cpus": 0.25,
        "mem": 512,
        "instances": 3,
        "env": {"A": "1", "B": {"secret": "x"}},
        "container": {
            "type": "DOCKER",
            "docker": {"image": "shop/web:7"},
            "portMappings": [{"containerPort": 8080, "name": "http"}],
            "volumes": [{"hostPath": "/data", "containerPath": "/srv", "mode": "RO"}],
        },
        "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/up", "portIndex": 0, "intervalSeconds": 5, "gracePeriodSeconds": 60}],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25},
        "constraints": [["hostname", "UNIQUE"]],
        "fetch": [{"uri": "x"}],
    }
    references = [{"name": "C", "secretKeyRef": {"name": "db", "key": "password"}}]
    found = workloads.workload(definition, namespace="shop", name="web", references=references)
    spec = found.objects[0]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert problems(found.objects[0]) == []
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (3, {"maxUnavailable": "50%", "maxSurge": "25%"})
    assert container["image"] == "shop/web:7"
    assert container["command"] == ["/bin/sh", "-c", "exec serve"]
    assert container["resources"] == {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}}
    assert container["env"] == [
        {"name": "A", "value": "1"},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
    ]
    assert container["livenessProbe"]["httpGet"] == {"path": "/up", "port": "http", "scheme": "HTTP"}
    assert container["startupProbe"]["failureThreshold"] == 12
    assert container["volumeMounts"] == [{"name": "volume0", "mountPath": "/srv", "readOnly": True}]
    assert "podAntiAffinity" in spec["template"]["spec"]["affinity"]
    assert sorted(note.partition(":")[0] for note in found.notes) == ["env B", "fetch"]


def test_a_service_with_hosts_becomes_a_service_and_an_ingress() -> None:
    spec: Json = {
        "backends": [{"name": "main", "appRef": {"name": "web"}, "portName": "http"}],
        "loadBalancer": {
            "group": "edge",
            "sticky": {"by": "Cookie"},
            "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "hosts": ["a.example.org"], "redirectToHttps": {}},
                {
                    "name": "https",
                    "protocol": "HTTPS",
                    "port": 443,
                    "hosts": ["a.example.org"],
                    "paths": ["/api"],
                    "tls": {"certificates": [{"secretRef": {"name": "shop-tls"}}]},
                },
                {"name": "raw", "protocol": "TCP", "port": 5000},
            ],
        },
    }
    found = services.service(spec, namespace="shop", name="front", ports=[("http", 8080, "TCP")])
    service, ingress = found.objects
    assert problems(service) == []
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["a.example.org", "a.example.org"]
    assert ingress["spec"]["tls"] == [{"hosts": ["a.example.org"], "secretName": "shop-tls"}]
    assert [
        words for words in ("listener raw", "redirect to HTTPS", "loadBalancer.sticky") if not any(words in n for n in found.notes)
    ] == []


def test_an_autoscaler_is_a_frame_around_what_there_is() -> None:
    spec = workloads.autoscaler(namespace="shop", name="web", instances=2)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"], spec["scaleTargetRef"]["name"]) == (2, 4, "web")


def test_what_a_service_cannot_express_is_named() -> None:
    balancer: Json = {
        "group": "edge",
        "listeners": [
            {"name": "any", "protocol": "HTTP", "port": 80},
            {"name": "file", "protocol": "HTTPS", "hosts": ["a.example.org"], "tls": {"certificates": [{"file": "a.pem"}]}},
        ],
    }
    spec: Json = {
        "backends": [{"name": "a", "appRef": {"name": "web"}}, {"name": "b", "appRef": {"name": "next"}}],
        "loadBalancer": balancer,
        "discovery": {"curator": {"path": "/x"}},
        "dns": {"names": ["front.shop"]},
    }
    told = "; ".join(services.service(spec, namespace="shop", name="front", ports=[]).notes)
    assert [w for w in ("backends", "without hosts", "certificate is a file", "discovery", "dns") if w not in told] == []
    nothing = services.service({"backends": [{"name": "a", "addresses": []}]}, namespace="shop", name="front", ports=[])
    assert (nothing.objects, len(nothing.notes)) == ([], 2)
