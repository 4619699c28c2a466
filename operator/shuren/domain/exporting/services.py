"""A PaasService to a Service and an Ingress, and sentences about what they cannot express."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shuren.domain.exporting.workloads import Exported

Json = dict[str, Any]

_NO_EQUAL = {
    "balance": "choose the algorithm in your ingress controller",
    "sticky": "session affinity is an annotation of your ingress controller",
    "access": "use a NetworkPolicy, or an annotation of your ingress controller",
    "retries": "annotations of your ingress controller",
    "timeouts": "annotations of your ingress controller",
    "connections": "annotations of your ingress controller",
    "outlierEjection": "needs a service mesh",
    "http": "headers and rewriting are annotations of your ingress controller",
    "upstream": "annotations of your ingress controller",
    "backendLines": "lines of HAProxy have no equal",
    "slowStartSeconds": "needs a service mesh",
}


def service(spec: Mapping[str, Any], *, namespace: str, name: str, ports: Sequence[tuple[str, int, str]]) -> Exported:
    """`ports` are those of the app behind it, as `workloads.ports` gives them."""
    found = Exported()
    backends = [b for b in spec.get("backends") or () if isinstance(b, Mapping)]
    apps = [b["appRef"]["name"] for b in backends if isinstance(b.get("appRef"), Mapping)]
    if len(backends) != 1 or len(apps) != 1:
        found.notes.append("backends: a Service selects one Deployment; split the traffic with your ingress controller or a mesh")
    if not apps:
        found.notes.append("backends: neither selectors nor addresses are converted; write the Service by hand")
        return found
    port = _port(backends[0], ports)
    found.objects.append(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app.kubernetes.io/name": apps[0][:63].rstrip("-.")}, "ports": [port]},
        }
    )
    balancer = spec.get("loadBalancer")
    if isinstance(balancer, Mapping):
        _ingress(balancer, namespace, name, port, found)
    if (spec.get("discovery") or {}).keys() - {"kubernetes"}:
        found.notes.append("discovery: records in ZooKeeper have no equal; clients use the Service's name")
    if (spec.get("dns") or {}).get("names"):
        found.notes.append(f"dns: clients use {name}.{namespace}.svc; keep other names with ExternalName or your DNS")
    return found


def _port(backend: Mapping[str, Any], ports: Sequence[tuple[str, int, str]]) -> Json:
    wanted = backend.get("portName")
    index = int(str(backend.get("portIndex") or 0))
    own = next((p for p in ports if p[0] == wanted), None) or (ports[index] if index < len(ports) else ("port0", 8080, "TCP"))
    return {"name": own[0], "port": 80 if own[2] == "TCP" else own[1], "targetPort": own[0], "protocol": own[2]}


def _ingress(balancer: Mapping[str, Any], namespace: str, name: str, port: Json, found: Exported) -> None:
    rules: list[Json] = []
    tls: list[Json] = []
    for listener in balancer.get("listeners") or ():
        if listener.get("protocol") not in {"HTTP", "HTTPS"}:
            found.notes.append(f"listener {listener['name']}: {listener['protocol']} needs a Service of type LoadBalancer, or a TCP route")
            continue
        hosts = listener.get("hosts") or []
        if not hosts:
            found.notes.append(
                f"listener {listener['name']}: a listener without hosts on port {listener.get('port')} has no equal in an Ingress"
            )
            continue
        backend = {"service": {"name": name, "port": {"name": port["name"]}}}
        paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in listener.get("paths") or ["/"]]
        rules += [rule for host in hosts if (rule := {"host": host, "http": {"paths": paths}}) not in rules]
        secrets = [c["secretRef"]["name"] for c in (listener.get("tls") or {}).get("certificates") or () if "secretRef" in c]
        if secrets:
            tls.append({"hosts": list(hosts), "secretName": secrets[0]})
        elif listener.get("tls"):
            found.notes.append(f"listener {listener['name']}: its certificate is a file of the load balancer; make it a Secret of type TLS")
        if listener.get("redirectToHttps") is not None:
            found.notes.append(f"listener {listener['name']}: the redirect to HTTPS is an annotation of your ingress controller")
    if rules:
        spec: Json = {"rules": rules, **({"tls": tls} if tls else {})}
        metadata = {"name": name, "namespace": namespace}
        found.objects.append({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec})
    found.notes += [f"loadBalancer.{key}: {what}" for key, what in _NO_EQUAL.items() if balancer.get(key)]
