"""The numbered rules of Marathon's API that are about requests and what is stored of them: one test id per rule.

Every case is a list of requests, of which the last is judged by its status and by a part of its body that must be there.
"""

# ruff: noqa: E501 - a table reads best with one case a line
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.contract import Settings
from shuren.sandbox.http.app import build_app
from wire import Wire

Step = tuple[str, str, Any]
ABSENT = object()


PLAIN = Settings()


@dataclass(frozen=True, kw_only=True)
class Case:
    rule: str
    steps: tuple[Step, ...]
    status: int = 200
    shows: Any = None
    settings: Settings = PLAIN


def post(app_id: str = "/a", /, **fields: Any) -> Step:
    return ("POST", "/v2/apps", {"id": app_id, "cmd": "sleep 1", "instances": 0} | fields)


def put(body: Any, path: str = "/v2/apps/a") -> Step:
    return ("PUT", path, body)


GET: Step = ("GET", "/v2/apps/a", None)


def app(**fields: Any) -> dict[str, Any]:
    return {"app": fields}


def wrong(path: str, *errors: str, message: str = "Object is not valid") -> dict[str, Any]:
    return {"message": message, "details": [{"path": path, "errors": list(errors)}]}


def missing_part(wanted: Any, got: Any, path: str = "") -> list[str]:
    """Where `got` lacks what `wanted` says. Lists must be equal in length, objects may have more keys."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        found = [f"{path}/{key}: there" for key, value in wanted.items() if value is ABSENT and key in got]
        found += [f"{path}/{key}: missing" for key, value in wanted.items() if value is not ABSENT and key not in got]
        return found + [
            m for key in wanted if wanted[key] is not ABSENT and key in got for m in missing_part(wanted[key], got[key], f"{path}/{key}")
        ]
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        return [m for index, (a, b) in enumerate(zip(wanted, got, strict=True)) for m in missing_part(a, b, f"{path}({index})")]
    return [] if wanted == got and isinstance(wanted, bool) == isinstance(got, bool) else [f"{path}: want {wanted!r}, got {got!r}"]


HOST = [{"mode": "host"}]
DEFAULT_MAPPING = {"containerPort": 0, "name": "default", "protocol": "tcp", "labels": {}}
VOLUME = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
RESIDENT = {"id": "/g/a", "cmd": "sleep 1", "instances": 0, "role": "g", "container": {"type": "MESOS", "volumes": [VOLUME]}}
G_APP: Step = ("GET", "/v2/apps/g/a", None)
HTTP_CHECK = {"protocol": "HTTP", "path": "/"}
STORED_CHECK = {"protocol": "HTTP", "ignoreHttp1xx": False, "ipProtocol": "IPv4", "delaySeconds": 15}
ENFORCING = Settings(new_group_enforce_role="top")
KEEPS_ROLE = (
    "enforceRole cannot be modified in a request that adds, removes or modifies services; please make these changes in separate requests."
)
SINGLE = {"MARATHON_SINGLE_INSTANCE_APP": "true"}
ZERO = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
RESOURCES_STAY = (
    "Services with persistent volumes configured may not change resource requirements. "
    "If you need to make this change, please create a new service."
)
HOST_PORTS_STAY = (
    "Services with persistent volumes configured may not change host ports. If you need to make this change, please create a new service."
)
LIMITS: dict[str, Any] = {"resourceLimits": {"cpus": "unlimited"}, "executorResources": {"cpus": 1, "mem": 64, "disk": 20}}

CASES = (
    # ---- 2.1 limits and 1.1 error codes
    Case(rule="1.1 wrong type", steps=(post(instances="1"),), status=422, shows=wrong("/instances", "error.expected.jsnumber", message="Invalid JSON")),
    Case(rule="1.1 fraction", steps=(post(instances=1.5),), status=422, shows=wrong("/instances", "error.expected.int", message="Invalid JSON")),
    Case(rule="1.1 whole float is an int", steps=(post(instances=0.0), GET), shows=app(instances=0)),
    Case(rule="1.1 minimum", steps=(post(mem=-1),), status=422, shows=wrong("/mem", "error.min", message="Invalid JSON")),
    Case(rule="1.1 fractions of minima are not enforced", steps=(post(cpus=0), GET), shows=app(cpus=0.0)),
    Case(rule="1.1 maximum", steps=(post(portDefinitions=[{"port": 70000}]),), status=422, shows=wrong("/portDefinitions(0)/port", "error.max", message="Invalid JSON")),
    Case(rule="1.1 items of plain lists have no limits", steps=(post(ports=[70000]), GET), shows=app(portDefinitions=[{"port": 70000}])),
    Case(rule="1.1 pattern", steps=(post("/A"),), status=422, shows=wrong("/id", "error.pattern", message="Invalid JSON")),
    Case(rule="1.1 port names", steps=(post(portDefinitions=[{"name": "a_b"}]),), status=422, shows=wrong("/portDefinitions(0)/name", "error.pattern", message="Invalid JSON")),
    Case(rule="1.1 longest text", steps=(post(fetch=[{"uri": "h" * 1025}]),), status=422, shows=wrong("/fetch(0)/uri", "error.maxLength", message="Invalid JSON")),
    Case(rule="1.1 enum", steps=(post(killSelection="YoungestFirst"),), status=422, shows=wrong("/killSelection", "error.unknown.enum.literal", message="Invalid JSON")),
    Case(rule="1.1 enums in any case", steps=(post(killSelection="oldest_first"), GET), shows=app(killSelection="OLDEST_FIRST")),
    Case(rule="1.1 missing field", steps=(post(container={"docker": {}}),), status=422, shows=wrong("/container/docker/image", "'image' is undefined on object: {}", message="Invalid JSON")),
    Case(rule="1.1 field of no object", steps=(post(upgradeStrategy=[]),), status=422, shows={"details": [{"errors": ["[] is not an object"]}] * 2}),
    Case(rule="1.1 no object counts as empty where nothing is required", steps=(post(unreachableStrategy=5), GET), shows=app(unreachableStrategy={"inactiveAfterSeconds": 0})),
    Case(rule="1.1 index in lists", steps=(("PUT", "/v2/apps", [{"id": "/x", "cmd": "sleep 1"}, {"id": "/y", "cpus": "x"}]),), status=422, shows=wrong("(1)/cpus", "error.expected.jsnumber", message="Invalid JSON")),
    Case(rule="1.1 unknown keys are ignored", steps=(post(foo=1, container={"type": "MESOS", "bar": {}}), GET), shows=app(foo=ABSENT, container={"bar": ABSENT})),
    Case(rule="1.1 date", steps=(post(version="yesterday"),), status=422, shows=wrong("/version", "error.expected.date.isoformat", message="Invalid JSON")),
    Case(rule="2.1 cmd longer than one", steps=(post(cmd="x"),), status=422, shows=wrong("/", "must not be an empty string")),
    Case(rule="2.1 cmd and args", steps=(post(args=["a"]),), status=422, shows=wrong("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")),
    Case(rule="2.1 image instead of command", steps=(("POST", "/v2/apps", {"id": "/a", "container": {"docker": {"image": "nginx"}}}),), status=201, shows={"cmd": ABSENT}),
    Case(rule="2.1 reserved last segment", steps=(post("/x/versions"),), status=422, shows=wrong("/id", "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..")),
    Case(rule="2.1 single instance counts", steps=(post(instances=2, labels={"MARATHON_SINGLE_INSTANCE_APP": "true"}, upgradeStrategy={"minimumHealthCapacity": 0, "maximumOverCapacity": 0}),), status=422, shows=wrong("/", "Single instance app may only have one instance")),
    Case(rule="2.1 single instance says 0/0 itself", steps=(post(labels={"MARATHON_SINGLE_INSTANCE_APP": "true"}),), status=422, shows={"message": "Object is not valid"}),
    Case(rule="2.1 numbers in env", steps=(post(env={"A": 1}),), status=422, shows=wrong("/env/A", "error.expected.jsobject", message="Invalid JSON")),
    Case(rule="2.1 gpus need the feature", steps=(post(gpus=1),), status=422, shows=wrong("/", "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)")),
    Case(rule="2.1 gpus with the feature", steps=(post(gpus=1), GET), shows=app(gpus=1), settings=Settings(features=frozenset({"gpu_resources"}))),
    Case(rule="2.1 secrets with the feature", steps=(post(env={"A": {"secret": "s"}}, secrets={"s": {"source": "/x"}}), GET), shows=app(secrets={"s": {"source": "/x"}}), settings=Settings(features=frozenset({"secrets"}))),
    Case(rule="2.1 single instance says 0/0 itself in PUT", steps=(put({"cmd": "sleep 1", "labels": SINGLE}),), status=422, shows={"details": [{"path": f"/upgradeStrategy/{key}", "errors": ["got 1.0, expected 0.0"]} for key in ("maximumOverCapacity", "minimumHealthCapacity")]}),
    Case(rule="2.1 whole numbers of constraints have 32 bits", steps=(post(constraints=[["a", "MAX_PER", "3000000000"]]),), status=422, shows=wrong("/constraints", "MAX_PER requires an integer value")),
    Case(rule="2.1 expressions are Java's", steps=(post(constraints=[["a", "LIKE", r"(?<n>\p{Alpha}+)\k<n>\z"]]),), status=201),
    Case(rule="2.1 expressions are not Python's", steps=(post(constraints=[["a", "LIKE", "(?P<n>a)"]]),), status=422, shows=wrong("/constraints", "is not a valid regular expression")),
    Case(rule="2.1 LIKE wants an expression", steps=(post(constraints=[["a", "LIKE"]]),), status=422, shows=wrong("/constraints", "LIKE and UNLIKE require a non-empty, regular expression value")),
    Case(rule="2.1 operators in upper case", steps=(post(constraints=[["hostname", "unique"]]),), status=500, shows={"message": "illegal constraint specification hostname,unique"}),
    Case(rule="2.1 constraint field", steps=(post(constraints=[["", "UNIQUE"]]),), status=422, shows=wrong("/constraints", "illegal constraint specification")),
    Case(rule="2.1 no name on a bridge", steps=(post(networks=[{"mode": "container/bridge", "name": "x"}]),), status=422, shows=wrong("/networks", "Bridge networks may not have names")),
    Case(rule="2.1 no labels on the host", steps=(post(networks=[{"mode": "host", "labels": {"a": "b"}}]),), status=422, shows=wrong("/networks", "Host networks may not have names or labels")),
    Case(rule="2.1 docker takes one network", steps=(post(container={"docker": {"image": "x"}}, networks=[{"name": "a"}, {"name": "b"}]),), status=422, shows=wrong("/", "may only specify a single container network when using the Docker container engine")),
    Case(rule="2.1 readiness port", steps=(post(readinessChecks=[{"portName": "web"}]),), status=422, shows=wrong("/readinessChecks(0)/portName", "No port definition reference for portName web")),
    Case(rule="2.1 readiness timeout", steps=(post(portDefinitions=[{"name": "http-api"}], readinessChecks=[{"timeoutSeconds": 30}]),), status=422, shows=wrong("/readinessChecks(0)/timeoutSeconds", "got 30, expected less than 30")),
    Case(rule="2.1 readiness defaults", steps=(post(portDefinitions=[{"name": "http-api"}], readinessChecks=[{}]), GET), shows=app(readinessChecks=[{"name": "readinessCheck", "path": "/", "intervalSeconds": 30, "timeoutSeconds": 10, "httpStatusCodesForReady": [200], "preserveLastResponse": False}])),
    Case(rule="2.1 cycles", steps=(post(dependencies=["/a"]),), status=422, shows=wrong("/", "Dependency graph has cyclic dependencies.")),
    Case(rule="2.1 inactive before expunge", steps=(post(unreachableStrategy={"inactiveAfterSeconds": 5}),), status=422, shows=wrong("/unreachableStrategy/inactiveAfterSeconds", "inactiveAfterSeconds (5) must be less or equal to expungeAfterSeconds, which is 0")),
    Case(rule="2.1 any text disables unreachable", steps=(post(unreachableStrategy="off"), GET), shows=app(unreachableStrategy="disabled")),
    Case(rule="2.1 roles of an app", steps=(post("/g/a", role="x"),), status=422, shows=wrong("/role", "got x, expected one of: [*, g]")),
    Case(rule="2.1 role of the group", steps=(post("/g/a", role="g"), G_APP), shows=app(role="g")),
    Case(rule="2.1 enforced role", steps=(("PUT", "/v2/groups/g", {"enforceRole": True}), post("/g/a"), G_APP), shows=app(role="g")),
    Case(rule="2.1 enforced role alone", steps=(("PUT", "/v2/groups/g", {"enforceRole": True}), post("/g/a", role="*")), status=422, shows=wrong("/role", "got *, expected one of: [g]")),
    Case(rule="2.1 new groups enforce their role", steps=(post("/g/a"), G_APP), shows=app(role="g"), settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: of the group", steps=(post("/g/b/a"), ("GET", "/v2/groups/g", None)), shows={"enforceRole": True}, settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: only at the top", steps=(post("/g/b/a"), ("GET", "/v2/groups/g/b", None)), shows={"enforceRole": ABSENT}, settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: apps at the root", steps=(post(), GET), shows=app(role="*"), settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: no other", steps=(post("/g/a", role="*"),), status=422, shows=wrong("/role", "got *, expected one of: [g]"), settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: unless they say no", steps=(("PUT", "/v2/groups/g", {"enforceRole": False}), post("/g/a"), G_APP), shows=app(role="*"), settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: in one request", steps=(("PUT", "/v2/groups", {"groups": [{"id": "g", "apps": [{"id": "a", "cmd": "sleep 1", "instances": 0}]}]}), G_APP), shows=app(role="g"), settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: below, too", steps=(("PUT", "/v2/groups/g", {"groups": [{"id": "b", "apps": [{"id": "a", "cmd": "sleep 1", "instances": 0}]}]}), ("GET", "/v2/apps/g/b/a", None)), shows=app(role="g"), settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: not the root", steps=(("GET", "/v2/groups", None),), shows={"enforceRole": ABSENT}, settings=ENFORCING),
    Case(rule="2.1 new groups enforce their role: a patch without a word", steps=(("PUT", "/v2/groups/g", {"enforceRole": False}), ("PATCH", "/v2/groups/g", {}), ("GET", "/v2/groups/g", None)), shows={"enforceRole": True}, settings=ENFORCING),
    Case(rule="1.3 a put that says nothing of the role sets it back", steps=(("PUT", "/v2/groups/g", {"enforceRole": True}), ("PUT", "/v2/groups/g", {}), ("GET", "/v2/groups/g", None)), shows={"enforceRole": False}),
    Case(rule="1.3 but not together with services", steps=(("PUT", "/v2/groups/g", {"enforceRole": True}), ("PUT", "/v2/groups/g", {"apps": []})), status=422, shows=wrong("/enforceRole", KEEPS_ROLE)),
    Case(rule="1.3 a group that does not enforce takes only the server's role in a group's update", steps=(("PUT", "/v2/groups/g", {"apps": [{"id": "a", "cmd": "sleep 1", "role": "g"}]}),), status=422, shows=wrong("/role", "got g, expected one of: [*]")),
    Case(rule="1.3 a relative id in a PUT counts twice", steps=(("PUT", "/v2/groups", {"id": "g", "apps": [{"id": "a", "cmd": "sleep 1"}]}),), status=422, shows=wrong("/apps(0)/id", "Identifier is not child of '/g/g'")),
    Case(rule="1.3 a relative id in a POST counts once", steps=(("POST", "/v2/groups", {"id": "g", "apps": [{"id": "a", "cmd": "sleep 1"}]}),), status=201),
    Case(rule="1.3 a group within a group has a name", steps=(("PUT", "/v2/groups/g", {"groups": [{"apps": []}]}),), status=500, shows={"message": "None.get"}),
    Case(rule="1.3 what is wrong with an app comes before where it is", steps=(("PUT", "/v2/groups/g", {"apps": [{"id": "/x/a"}]}),), status=422, shows=wrong("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")),
    Case(rule="2.1 server's role", steps=(post(), GET), shows=app(role="prod"), settings=Settings(mesos_role="prod")),
    Case(rule="2.1 accepted roles", steps=(post("/g/a", role="g", acceptedResourceRoles=["x"]),), status=422, shows=wrong("/acceptedResourceRoles", "acceptedResourceRoles can only contain * and g")),
    Case(rule="2.1 limits above requests", steps=(post(cpus=2, resourceLimits={"cpus": 1}),), status=422, shows=wrong("/resourceLimits/cpus", "resource limit must be greater than or equal to requested resource (2.0)")),
    Case(rule="2.1 executor resources", steps=(post(executorResources={}), GET), shows=app(executorResources={"cpus": 0.1, "mem": 32.0, "disk": 10.0})),
    Case(rule="2.1 check", steps=(post(check={"tcp": {"portIndex": 0}}), GET), shows=app(check={"tcp": {"portIndex": 0}, "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15})),
    # ---- 2.2 containers
    Case(rule="2.2 docker needs docker", steps=(post(container={"type": "DOCKER"}),), status=422, shows=wrong("/container/docker", "not defined")),
    Case(rule="2.2 no parameters with mesos", steps=(post(container={"type": "MESOS", "docker": {"image": "x", "parameters": [{"key": "a", "value": "b"}]}}),), status=422, shows=wrong("/container/docker/parameters", "must be empty")),
    Case(rule="2.2 no network with mesos", steps=(post(container={"type": "MESOS", "docker": {"image": "x", "network": "HOST"}}),), status=422, shows=wrong("/container/docker/network", "must be empty")),
    Case(rule="2.2 credential is gone", steps=(post(container={"docker": {"image": "x", "credential": {"principal": "p"}}}),), status=422, shows=wrong("/container/docker/credential", "must be empty")),
    Case(rule="2.2 pull config of mesos wants a secret", steps=(post(container={"type": "MESOS", "docker": {"image": "x", "pullConfig": {"secret": "s"}}}),), status=422, shows=wrong("/container/docker/pullConfig", "pullConfig.secret must refer to an existing secret"), settings=Settings(features=frozenset({"secrets"}))),
    Case(rule="2.2 host volume needs a mode", steps=(post(container={"type": "MESOS", "volumes": [{"containerPath": "/a", "hostPath": "/b"}]}),), status=422, shows={"message": "Invalid JSON"}),
    Case(rule="2.2 only mounts have a maximum", steps=(post("/g/a", role="g", container={"type": "MESOS", "volumes": [VOLUME | {"persistent": {"size": 1, "maxSize": 5}}]}),), status=422, shows=wrong("/container/volumes(0)/persistent", "Only mount volumes can have maxSize")),
    Case(rule="2.2 seccomp is one thing", steps=(post(container={"type": "MESOS", "linuxInfo": {"seccomp": {"profileName": "p", "unconfined": True}}}),), status=422, shows=wrong("/container/linuxInfo/seccomp", "Seccomp unconfined can NOT be true when Profile is defined")),
    Case(rule="2.2 resident apps keep their cpus", steps=(("POST", "/v2/apps", RESIDENT), put({"cpus": 2}, "/v2/apps/g/a")), status=422, shows=wrong("/app(0)/cpus", RESOURCES_STAY)),
    Case(rule="2.2 resident apps keep their volumes", steps=(("POST", "/v2/apps", RESIDENT), put({"container": {"type": "MESOS", "volumes": [VOLUME | {"persistent": {"size": 20}}]}}, "/v2/apps/g/a")), status=422, shows=wrong("/app(0)", "Persistent volumes can not be changed!")),
    Case(rule="2.2 resident apps keep their ports", steps=(("POST", "/v2/apps", RESIDENT), put({"portDefinitions": []}, "/v2/apps/g/a")), status=422, shows=wrong("/app(0)", HOST_PORTS_STAY)),
    Case(rule="2.2 resident apps keep what they require", steps=(("POST", "/v2/apps", RESIDENT), put({"requirePorts": True}, "/v2/apps/g/a")), status=422, shows=wrong("/app(0)/requirePorts", RESOURCES_STAY)),
    Case(rule="2.2 an app does not become resident", steps=(post("/g/a", role="g", upgradeStrategy=ZERO, unreachableStrategy="disabled"), put({"container": {"type": "MESOS", "volumes": [VOLUME]}}, "/v2/apps/g/a")), status=422, shows=wrong("/app(0)", "Persistent volumes can not be changed!")),
    Case(rule="2.2 resident apps count among those that change", steps=(("POST", "/v2/apps", RESIDENT), ("PUT", "/v2/apps", [{"id": "/g/a", "mem": 1}, {"id": "/b", "cmd": "sleep 1"}])), status=422, shows=wrong("/app(1)/mem", RESOURCES_STAY)),
    Case(rule="2.2 what is wrong with an app of a group by itself has the app for its place", steps=(("PUT", "/v2/groups/g", {"apps": [RESIDENT | {"role": "*"}]}),), status=422, shows=wrong("/apps//g/a", "Resident apps cannot have the role *")),
    Case(rule="2.2 single instances of a group say 0/0 themselves", steps=(("PUT", "/v2/groups/g", {"apps": [{"id": "a", "cmd": "sleep 1", "labels": SINGLE}]}),), status=422, shows=wrong("/apps//g/a", "must be false", "got 1.0, expected 0.0")),
    Case(rule="2.2 a dry run does not look so far", steps=(("PUT", "/v2/groups/g?dryRun=true", {"apps": [RESIDENT | {"role": "*"}]}),), shows={"steps": [{}, {}]}),
    Case(rule="2.2 pods and apps of one name, seen from every group above", steps=(post("/g/h/a"), ("POST", "/v2/pods", {"id": "/g/h/a", "containers": [{"name": "c", "resources": {"cpus": 0.1, "mem": 32}}]})), status=422, shows={"details": [{"path": path, "errors": ["Applications and Pods may not share the same id"]} for path in ("/", "/groups(0)", "/groups(1)")]}),
    Case(rule="2.2 external volumes need the feature", steps=(post(container={"type": "MESOS", "volumes": [{"containerPath": "/d", "mode": "RW", "external": {"name": "n", "provider": "dvdi", "size": 1, "options": {"dvdi/driver": "rexray"}}}]}),), status=422, shows=wrong("/container/volumes(0)", "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)")),
    Case(rule="2.2 port mapping names are unique", steps=(post(networks=[{"name": "n"}], container={"type": "MESOS", "portMappings": [{"name": "x"}, {"name": "x"}]}),), status=422, shows=wrong("/container/portMappings", "Port names must be unique.")),
    # ---- 2.3 health checks
    Case(rule="2.3 one Mesos network check", steps=(post(healthChecks=[{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}]),), status=422, shows=wrong("/", "AppDefinition can contain at most one Mesos health check")),
    Case(rule="2.3 command checks do not count", steps=(post(healthChecks=[{"protocol": "MESOS_TCP"}, {"protocol": "COMMAND", "command": {"value": "a"}}, {"protocol": "COMMAND", "command": {"value": "b"}}]),), status=201),
    Case(rule="2.3 ports of bridges come late", steps=(post(networks=[{"mode": "container/bridge"}], healthChecks=[HTTP_CHECK]),), status=422, shows={"message": "Object is not valid"}),
    Case(rule="2.3 own port needs no index", steps=(post(portDefinitions=[], healthChecks=[HTTP_CHECK | {"port": 80}]), GET), shows=app(healthChecks=[{"port": 80, "portIndex": ABSENT}])),
    # ---- 2.4 echo hazards
    Case(rule="2.4-1 version with other keys", steps=(post(), put({"version": "2026-11-23T20:00:00.001Z", "cpus": 1})), status=422, shows=wrong("/", "The 'version' field may only be combined with the 'id' field.")),
    Case(rule="2.4-1 version alone rolls back", steps=(post(cpus=1), put({"cpus": 2}), put({"version": "2026-11-23T20:00:00.001Z"}), GET), shows=app(cpus=1.0)),
    Case(rule="2.4-1 version of a whole PUT is dropped", steps=(post(cpus=1), put({"cpus": 2}), put({"version": "2026-11-23T20:00:00.001Z", "cmd": "sleep 1", "cpus": 3}, "/v2/apps/a?partialUpdate=false"), GET), shows=app(cpus=3.0)),
    Case(rule="2.4-2 id of the body does not count", steps=(post(), put({"id": "/b", "cpus": 2}), GET), shows=app(id="/a", cpus=2.0)),
    Case(rule="2.4-3 status keys do not count", steps=(post(tasksRunning=7, deployments=[{"id": "x"}], versionInfo={"lastScalingAt": "2020-01-01T00:00:00.000Z", "lastConfigChangeAt": "2020-01-01T00:00:00.000Z"}), GET), shows=app(tasksRunning=0, deployments=[], versionInfo={"lastScalingAt": "2026-11-23T20:00:00.001Z"})),
    # ---- 2.4 rewrites
    Case(rule="2.4-4 ids and dependencies become absolute", steps=(post("x//b/../a/", dependencies=["db", "../q", "/k//l"]), ("GET", "/v2/apps/x/a", None)), shows=app(id="/x/a", dependencies=["/db", "/q", "/k/l"])),
    Case(rule="2.4-5 uris become fetch", steps=(post(uris=["http://h/a.tgz", "http://h/b.txt"]), GET), shows=app(uris=ABSENT, fetch=[{"uri": "http://h/a.tgz", "extract": True}, {"uri": "http://h/b.txt", "extract": False}])),
    Case(rule="2.4-5 what is unpacked is known by the end of its path", steps=(post(uris=["http://h/a.tar.gz?sig=1", "http://h/b.tar", "http://h/c.gz#x", "http://h/d.jar", "http://h/E.TGZ", "http://h.zip", "mailto:a.zip"]), GET), shows=app(fetch=[{"extract": extract} for extract in (True, True, True, False, False, False, False)])),
    Case(rule="2.4-5 fetch extracts by default", steps=(post(fetch=[{"uri": "http://h/b.txt"}]), GET), shows=app(fetch=[{"extract": True, "executable": False, "cache": False}])),
    Case(rule="2.4-6 ports lose their names", steps=(post(ports=[0, 0]), GET), shows=app(ports=ABSENT, portDefinitions=[{"port": 10000, "name": ABSENT}, {"port": 10001, "name": ABSENT}])),
    Case(rule="2.4-6 one default port", steps=(post(), GET), shows=app(portDefinitions=[{"port": 10000, "name": "default", "protocol": "tcp"}])),
    Case(rule="2.4-6 no ports on request", steps=(post(portDefinitions=[]), GET), shows=app(portDefinitions=[])),
    Case(rule="2.4-7 docker network and mappings move", steps=(post(container={"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}), GET), shows=app(networks=[{"mode": "container/bridge"}], container={"docker": {"network": ABSENT, "portMappings": ABSENT}, "portMappings": [{"containerPort": 80, "hostPort": 0}]})),
    Case(rule="2.4-7 ipAddress becomes a network", steps=(post(ipAddress={"networkName": "n", "labels": {"a": "b"}}), GET), shows=app(ipAddress=ABSENT, networks=[{"name": "n", "mode": "container", "labels": {"a": "b"}}])),
    Case(rule="2.4-7 mixed networks in PUT", steps=(post(), put({"ipAddress": {"networkName": "n"}, "networks": [{"name": "m"}]})), status=500, shows={"message": "cannot mix deprecated and canonical network APIs"}),
    Case(rule="2.4-7 mixed networks in PUT, be the new ones none", steps=(post(), put({"ipAddress": {"networkName": "n"}, "networks": []})), status=500, shows={"message": "cannot mix deprecated and canonical network APIs"}),
    Case(rule="2.4-7 no networks in POST say nothing", steps=(post(ipAddress={"networkName": "n"}, networks=[]), GET), shows=app(networks=[{"name": "n"}])),
    Case(rule="2.4-7 mixed networks in POST", steps=(post(ipAddress={"networkName": "n"}, networks=[{"name": "m"}]),), status=422, shows=wrong("/", "must not specify both networks and ipAddress")),
    Case(rule="2.4-8 mappings do not stay on the host", steps=(post(container={"type": "MESOS", "portMappings": [{"containerPort": 80}]}), GET), shows=app(networks=HOST, container={"portMappings": ABSENT})),
    Case(rule="2.4-8 definitions only leave blank mappings", steps=(post(networks=[{"name": "n"}], portDefinitions=[{"port": 1}, {"port": 2}], container={"type": "MESOS", "portMappings": [{"containerPort": 80}]}), GET), shows=app(portDefinitions=ABSENT, container={"portMappings": [{"containerPort": 80}, {"containerPort": 0, "name": ABSENT}]})),
    Case(rule="2.4-9 a container appears", steps=(post(networks=[{"name": "n"}]), GET), shows=app(container={"type": "MESOS", "volumes": [], "portMappings": [DEFAULT_MAPPING]})),
    Case(rule="2.4-9 no mappings on request", steps=(post(networks=[{"name": "n"}], container={"type": "MESOS", "portMappings": []}), GET), shows=app(container={"portMappings": []})),
    Case(rule="2.4-10 host port of a bridge", steps=(post(networks=[{"mode": "container/bridge"}], container={"type": "MESOS", "portMappings": [{"containerPort": 80}]}), GET), shows=app(container={"portMappings": [{"hostPort": 0}]})),
    Case(rule="2.4-10 default network", steps=(post(networks=[{}]), GET), shows=app(networks=[{"name": "dcos", "mode": "container"}]), settings=Settings(default_network_name="dcos")),
    Case(rule="2.4-11 the answer to POST shows no service port yet", steps=(post(),), status=201, shows={"portDefinitions": [{"port": 0}], "versionInfo": ABSENT, "tasksStaged": 0}),
    Case(rule="2.4-11 lowest free service port", steps=(post("/b", portDefinitions=[{"port": 10000}]), post(), GET), shows=app(portDefinitions=[{"port": 10001}])),
    Case(rule="2.4-11 own ports come back", steps=(post(ports=[0, 0]), post("/b"), put({"ports": [0, 0]}), GET), shows=app(portDefinitions=[{"port": 10000}, {"port": 10001}])),
    Case(rule="2.4-11 the range can be used up", steps=(post(), post("/b")), status=500, shows={"message": "All ports in the range [10000-10000) are already in use"}, settings=Settings(local_port_max=10000)),
    Case(rule="2.4-12 requirePorts only on the host", steps=(post(networks=[{"name": "n"}], requirePorts=True), GET), shows=app(requirePorts=False)),
    Case(rule="2.4-13 ignoreHttp1xx is lost", steps=(post(healthChecks=[HTTP_CHECK | {"ignoreHttp1xx": True, "delaySeconds": 3}]), GET), shows=app(healthChecks=[STORED_CHECK | {"portIndex": ABSENT}])),
    Case(rule="2.4-13 portIndex where ports are declared", steps=(post(portDefinitions=[{"port": 0}], healthChecks=[HTTP_CHECK]), GET), shows=app(healthChecks=[{"portIndex": 0}])),
    Case(rule="2.4-13 portIndex after PUT", steps=(put({"cmd": "sleep 1", "healthChecks": [HTTP_CHECK]}), GET), shows=app(healthChecks=[{"portIndex": 0}])),
    Case(rule="2.4-13 command checks have no port", steps=(post(healthChecks=[{"protocol": "COMMAND", "command": {"value": "true"}, "portIndex": 0, "delaySeconds": 3}]), GET), shows=app(healthChecks=[{"portIndex": ABSENT, "delaySeconds": 3}])),
    Case(rule="2.4-13 tcp checks have no path", steps=(post(healthChecks=[{"protocol": "TCP", "path": "/x", "portIndex": 0}]), GET), shows=app(healthChecks=[{"path": ABSENT, "ignoreHttp1xx": ABSENT}])),
    Case(rule="2.4-14 sets lose duplicates", steps=(post(constraints=[["a", "UNIQUE"], ["a", "UNIQUE"]], dependencies=["/x", "/x", "x"], acceptedResourceRoles=["*", "*"]), GET), shows=app(constraints=[["a", "UNIQUE"]], dependencies=["/x"], acceptedResourceRoles=["*"])),
    Case(rule="2.4-15 udp,tcp", steps=(post(portDefinitions=[{"protocol": "udp,tcp"}]), GET), shows=app(portDefinitions=[{"protocol": "udp,tcp"}])),
    Case(rule="2.4-15 tcp,udp is no literal", steps=(post(portDefinitions=[{"protocol": "tcp,udp"}]),), status=422, shows=wrong("/portDefinitions(0)/protocol", "error.unknown.enum.literal", message="Invalid JSON")),
    Case(rule="2.4-16 strategies follow volumes", steps=(("POST", "/v2/apps", RESIDENT), G_APP), shows=app(upgradeStrategy={"maximumOverCapacity": 0.0, "minimumHealthCapacity": 0.5}, unreachableStrategy="disabled", residency={"taskLostBehavior": "WAIT_FOREVER", "relaunchEscalationTimeoutSeconds": 3600}, container={"volumes": [{"persistent": {"type": "root", "constraints": []}}]})),
    Case(rule="2.4-16 resident apps need a role", steps=(post(container={"type": "MESOS", "volumes": [VOLUME]}),), status=422, shows=wrong("/role", "Resident apps cannot have the role *")),
    Case(rule="2.4-17 whole PUT resets the role", steps=(post("/g/a", role="g"), put({"cmd": "sleep 1"}, "/v2/apps/g/a?partialUpdate=false"), G_APP), shows=app(role="*")),
    Case(rule="2.4-18 tty", steps=(post(tty=False), GET), shows=app(tty=False)),
    Case(rule="2.4-18 PUT forgets executor resources", steps=(put({"cmd": "sleep 1", "executorResources": {}}), GET), shows=app(executorResources=ABSENT)),
    Case(rule="2.4-20 what is left out when empty", steps=(post(), GET), shows=app(env=ABSENT, fetch=ABSENT, constraints=ABSENT, dependencies=ABSENT, healthChecks=ABSENT, readinessChecks=ABSENT, secrets=ABSENT, args=ABSENT, labels={})),
    # ---- 2.4 partial PUT
    Case(rule="2.4-21 null keeps", steps=(post(user="joe"), put({"user": None, "cmd": None}), GET), shows=app(user="joe", cmd="sleep 1")),
    Case(rule="2.4-21 empty clears", steps=(post(env={"A": "1"}, labels={"a": "b"}, constraints=[["a", "UNIQUE"]]), put({"env": {}, "labels": {}, "constraints": []}), GET), shows=app(env=ABSENT, labels={}, constraints=ABSENT)),
    Case(rule="2.4-21 empty accepted roles are refused", steps=(post(), put({"acceptedResourceRoles": []})), status=422, shows=wrong("/acceptedResourceRoles", "must not be empty")),
    Case(rule="2.4-21 cmd cannot become args", steps=(post(), put({"args": ["a"]})), status=422, shows=wrong("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")),
    Case(rule="2.4-22 nested values are replaced whole", steps=(post(container={"type": "MESOS", "docker": {"image": "x"}}), put({"container": {"type": "MESOS"}}), GET), shows=app(container={"docker": ABSENT})),
    Case(rule="2.4-23 limits do not survive", steps=(post(**LIMITS), put({"instances": 5}), GET), shows=app(resourceLimits=ABSENT, executorResources=ABSENT, instances=5)),
    Case(rule="2.4-23 repeated limits do", steps=(post(**LIMITS), put({"instances": 5} | LIMITS), GET), shows=app(resourceLimits={"cpus": "unlimited"}, executorResources={"cpus": 1.0})),
    Case(rule="2.4-24 whole PUT defaults what it leaves out", steps=(post(instances=0, cpus=2, env={"A": "b"}), put({"cmd": "sleep 2"}, "/v2/apps/a?partialUpdate=false"), GET), shows=app(instances=1, cpus=1.0, env=ABSENT)),
    Case(rule="2.4-24 anything but true is false", steps=(post(cpus=2), put({"cmd": "sleep 2"}, "/v2/apps/a?partialUpdate=foo"), GET), shows=app(cpus=1.0)),
    # ---- 1.2 lists of apps
    Case(rule="1.2 a new app of a list has only the ports that it names", steps=(("PUT", "/v2/apps", [{"id": "/a", "cmd": "sleep 1"}]), GET), shows=app(portDefinitions=[], networks=HOST, requirePorts=False)),
    Case(rule="1.2 and so its checks may have none", steps=(("PUT", "/v2/apps", [{"id": "/a", "cmd": "sleep 1", "healthChecks": [HTTP_CHECK]}]),), status=422, shows=wrong("/healthChecks(0)", "Health check port indices must address an element of the ports array or container port mappings.")),
    Case(rule="1.2 beyond the host it has the default one", steps=(("PUT", "/v2/apps", [{"id": "/a", "cmd": "sleep 1", "networks": [{"name": "n"}]}]), GET), shows=app(portDefinitions=ABSENT, container={"portMappings": [DEFAULT_MAPPING]})),
    Case(rule="1.2 a whole app of a list has the default port", steps=(("PUT", "/v2/apps?partialUpdate=false", [{"id": "/a", "cmd": "sleep 1"}]), GET), shows=app(portDefinitions=[{"port": 10000, "name": "default"}])),
    Case(rule="1.2 a new app of a list keeps its executor's resources", steps=(("PUT", "/v2/apps", [{"id": "/a", "cmd": "sleep 1", "executorResources": {}}]), GET), shows=app(executorResources={"cpus": 0.1})),
    Case(rule="1.2 back to a version by a list, in any form of the time", steps=(post(cpus=1), put({"cpus": 2}), ("PUT", "/v2/apps", [{"id": "/a", "version": "2026-11-23T21:00:00.001+01:00"}]), GET), shows=app(cpus=1.0)),
    # ---- 3.1 versions
    Case(rule="3.1 a scale keeps the last config change", steps=(post(), put({"instances": 2}), GET), shows=app(version="2026-11-23T20:00:00.002Z", versionInfo={"lastScalingAt": "2026-11-23T20:00:00.002Z", "lastConfigChangeAt": "2026-11-23T20:00:00.001Z"})),
    Case(rule="3.1 a label is a config change", steps=(post(), put({"labels": {"a": "b"}}), GET), shows=app(versionInfo={"lastConfigChangeAt": "2026-11-23T20:00:00.002Z"})),
    Case(rule="3.1 nothing is nothing", steps=(post(), put({"cmd": "sleep 1"}), GET), shows=app(version="2026-11-23T20:00:00.001Z")),
    Case(rule="3.1 order of sets is nothing", steps=(post(constraints=[["a", "UNIQUE"], ["b", "UNIQUE"]]), put({"constraints": [["b", "UNIQUE"], ["a", "UNIQUE"]]}), GET), shows=app(version="2026-11-23T20:00:00.001Z")),
    Case(rule="3.1 executor resources are nothing", steps=(post(), put({"executorResources": {}}), GET), shows=app(version="2026-11-23T20:00:00.001Z", executorResources={"cpus": 0.1})),
    Case(rule="3.1 restart", steps=(post(), ("POST", "/v2/apps/a/restart", None), GET), shows=app(versionInfo={"lastConfigChangeAt": "2026-11-23T20:00:00.002Z"})),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
async def test_rule(case: Case) -> None:
    engine = QuietEngine(settings=case.settings)
    async with Wire(build_app(engine, address=engine.address)) as wire:
        for method, path, body in case.steps[:-1]:
            assert (await wire.send(method, path, body)).status in (200, 201), f"{method} {path}"
        method, path, body = case.steps[-1]
        reply = await wire.send(method, path, body)
    assert reply.status == case.status, reply.body
    assert missing_part(case.shows, reply.json) == [] if case.shows is not None else True


def test_every_rule_has_one_name() -> None:
    names = [case.rule for case in CASES]
    assert len(names) == len(set(names))
