"""Bad MesosClusters: what is wrong, at which field, and what must be said about it."""

from __future__ import annotations

from typing import Any

SPEC: dict[str, Any] = {"marathon": {"urls": ["http://m:8080"]}, "zookeeper": {"hosts": ["zk:2181"], "root": "/shuren/bj1"}}
SECRET = {"namespace": "a", "name": "b"}
SELECTOR = {"namespaceSelector": {"matchLabels": {"a": "b"}}}

URL = "a base URL is needed, such as http://marathon1.example.org:8080, without user or password (they go into authSecretRef)"

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no urls": ({"marathon": {"urls": []}}, "spec.marathon.urls", "must not be empty"),
    "url without scheme": ({"marathon": {"urls": ["m:8080"]}}, "spec.marathon.urls[0]", URL),
    "url with a password": ({"marathon": {"urls": ["http://m:1", "http://u:p@m:8080"]}}, "spec.marathon.urls[1]", URL),
    "url with a port that is none": ({"marathon": {"urls": ["http://m:65536"]}}, "spec.marathon.urls[0]", URL),
    "master without host": ({"mesos": {"masters": ["http://:5050"]}}, "spec.mesos.masters[0]", URL),
    "no rate": (
        {"marathon": {"urls": ["http://m"], "limits": {"requestsPerSecond": 0}}},
        "spec.marathon.limits.requestsPerSecond",
        "must be greater than 0",
    ),
    "zookeeper without port": (
        {"zookeeper": {"hosts": ["zk"], "root": "/a"}},
        "spec.zookeeper.hosts[0]",
        "a server is host:port, such as zk1.example.org:2181",
    ),
    "zookeeper with a port that is none": (
        {"zookeeper": {"hosts": ["zk:0"], "root": "/a"}},
        "spec.zookeeper.hosts[0]",
        "a server is host:port, such as zk1.example.org:2181",
    ),
    "zookeeper root": ({"zookeeper": {"hosts": ["zk:1"], "root": "/"}}, "spec.zookeeper.root", "must have at least 2 characters"),
    "zookeeper root with dots": (
        {"zookeeper": {"hosts": ["zk:1"], "root": "/a/../b"}},
        "spec.zookeeper.root",
        "a ZooKeeper path is needed, below /, such as /shuren/bj1",
    ),
    "trusts all and some": (
        {"marathon": {"urls": ["https://m"], "tls": {"insecureSkipVerify": True, "caSecretRef": SECRET}}},
        "spec.marathon.tls.insecureSkipVerify",
        "insecureSkipVerify and caSecretRef exclude each other",
    ),
    "trusts all and some of Mesos": (
        {"mesos": {"masters": ["https://m:5050"], "tls": {"insecureSkipVerify": True, "caSecretRef": SECRET}}},
        "spec.mesos.tls.insecureSkipVerify",
        "insecureSkipVerify and caSecretRef exclude each other",
    ),
    "trusts all and some of ZooKeeper": (
        {"zookeeper": {"hosts": ["zk:1"], "root": "/a", "tls": {"insecureSkipVerify": True, "caSecretRef": SECRET}}},
        "spec.zookeeper.tls.insecureSkipVerify",
        "insecureSkipVerify and caSecretRef exclude each other",
    ),
    "records anywhere": (
        {"tenancy": {"recordRoots": ["services"]}},
        "spec.tenancy.recordRoots[0]",
        "a ZooKeeper path is needed, below /, such as /shuren/bj1",
    ),
    "selector of prefixes with values": (
        {
            "tenancy": {
                "idPrefixes": [
                    {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "prefixes": ["/a"]}
                ]
            }
        },
        "spec.tenancy.idPrefixes[0].namespaceSelector.matchExpressions[0]",
        "In and NotIn need values; Exists and DoesNotExist take none",
    ),
    "zone": (
        {"dns": {"zone": "A B"}},
        "spec.dns.zone",
        "a DNS zone has labels of lower-case letters, digits and inner dashes, such as bj1.example.org",
    ),
    "prefix without slash": (
        {"tenancy": {"idPrefixes": [{**SELECTOR, "prefixes": ["shop"]}]}},
        "spec.tenancy.idPrefixes[0].prefixes[0]",
        "a prefix is a path of Marathon ids, such as /shop; / grants everything",
    ),
    "selector without values": (
        {"tenancy": {"namespaces": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
        "spec.tenancy.namespaces.matchExpressions[0]",
        "In and NotIn need values; Exists and DoesNotExist take none",
    ),
    "more than all": ({"deletionGuard": {"maxPercentPerMinute": 101}}, "spec.deletionGuard.maxPercentPerMinute", "must be at most 100"),
}


def cluster(**changes: Any) -> dict[str, Any]:
    """A small MesosCluster with these fields of its spec."""
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "MesosCluster", "metadata": {"name": "bj1"}, "spec": {**SPEC, **changes}}
