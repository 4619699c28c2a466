"""Hypothesis strategies that many tests share: Marathon definitions as people write them, ids, conditions."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

WORDS = ("a", "web", "api-1", "b2", "x.y", "中文")
segments = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
app_ids = st.lists(segments.filter(lambda s: s not in {"restart", "tasks", "versions"}), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
port_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True)
texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=8)
labels = st.dictionaries(st.sampled_from(WORDS), texts, max_size=3)
small = st.integers(min_value=0, max_value=5)
amounts = st.one_of(st.integers(min_value=0, max_value=64), st.sampled_from([0.1, 0.5, 1.25, 128.0]))
shares = st.sampled_from([0, 0.25, 0.5, 0.75, 1, 1.0])


def fields(required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Json]:
    """An object with all of `required` and any of `optional`; an optional field may also be null, which says nothing."""
    return st.fixed_dictionaries(required, optional={key: st.one_of(value, st.none()) for key, value in optional.items()})


def cased(*words: str) -> st.SearchStrategy[str]:
    """Words in either case: Marathon reads enums without regard to it."""
    return st.sampled_from([*words, *(word.lower() for word in words)])


marathon_checks = fields(
    {"protocol": cased("HTTP", "HTTPS", "TCP", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")},
    {
        "path": st.sampled_from(["/", "/health"]),
        "port": st.integers(min_value=1, max_value=65535),
        "portIndex": small,
        "gracePeriodSeconds": small,
        "intervalSeconds": small,
        "timeoutSeconds": small,
        "maxConsecutiveFailures": small,
        "delaySeconds": small,
        "ignoreHttp1xx": st.booleans(),
        "ipProtocol": cased("IPv4", "IPv6"),
    },
)
command_checks = fields({"protocol": cased("COMMAND"), "command": st.just({"value": "true"})}, {"portIndex": small, "delaySeconds": small})
health_checks = st.lists(st.one_of(marathon_checks, command_checks), max_size=3)

readiness_checks = st.lists(
    fields(
        {},
        {
            "name": st.just("ready"),
            "portName": port_names,
            "intervalSeconds": small,
            "httpStatusCodesForReady": st.lists(st.sampled_from([200, 204, 302]), min_size=1, max_size=3),
        },
    ),
    max_size=1,
)

constraints = st.lists(
    st.sampled_from(
        [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "3"], ["os", "LIKE", "linux.*"], ["@zone", "CLUSTER", "a"], ["x", "MAX_PER", "2"]]
    ),
    max_size=3,
)
fetches = st.lists(
    fields(
        {"uri": st.sampled_from(["http://h/a.tgz", "file:///b"])},
        {"extract": st.booleans(), "cache": st.booleans(), "destPath": st.just("d")},
    ),
    max_size=2,
)
port_definitions = st.lists(
    fields(
        {}, {"port": st.sampled_from([0, 8080, 9000]), "protocol": cased("TCP", "UDP", "udp,tcp"), "name": port_names, "labels": labels}
    ),
    max_size=3,
)
port_mappings = st.lists(
    fields(
        {},
        {
            "containerPort": st.sampled_from([0, 80]),
            "hostPort": st.sampled_from([0, 31000]),
            "servicePort": st.sampled_from([0, 10100]),
            "protocol": cased("TCP", "UDP"),
            "name": port_names,
            "labels": labels,
        },
    ),
    max_size=3,
)
volumes = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"containerPath": st.just("/c"), "hostPath": st.just("/h"), "mode": cased("RO", "RW")},
        ),
        st.fixed_dictionaries({"containerPath": st.just("data"), "mode": st.just("RW"), "persistent": st.just({"size": 10})}),
        st.fixed_dictionaries(
            {"containerPath": st.just("/e"), "mode": st.just("RW"), "external": st.just({"name": "v", "provider": "dvdi", "options": {}})}
        ),
    ),
    max_size=2,
)
images = fields(
    {"image": st.sampled_from(["nginx", "r:5000/a/b:1"])},
    {
        "privileged": st.booleans(),
        "forcePullImage": st.booleans(),
        "parameters": st.just([{"key": "a", "value": "b"}]),
        "network": cased("BRIDGE", "HOST", "USER"),
        "portMappings": port_mappings,
    },
)
linux = fields(
    {},
    {
        "seccomp": st.sampled_from([{"unconfined": True}, {"profileName": "p"}, {"profileName": "p", "unconfined": False}]),
        "ipcInfo": fields({"mode": cased("PRIVATE", "SHARE_PARENT")}, {"shmSize": small}),
    },
)
containers = st.one_of(
    fields({"type": cased("DOCKER"), "docker": images}, {"portMappings": port_mappings, "volumes": volumes}),
    fields({"type": cased("MESOS")}, {"portMappings": port_mappings, "volumes": volumes, "linuxInfo": linux}),
)
probes = fields({}, {"port": st.sampled_from([0, 80]), "portIndex": small})
checks = st.one_of(
    fields({"http": fields({}, {"port": st.just(80), "path": st.just("/"), "scheme": cased("HTTP", "HTTPS")})}, {"delaySeconds": small}),
    fields({"tcp": probes}, {"timeoutSeconds": small}),
    st.just({"exec": {"command": {"argv": ["a", "b"]}}}),
)
discovered_ports = fields({"name": port_names}, {"number": st.just(80), "protocol": cased("TCP", "UDP", "udp,tcp"), "labels": labels})
ip_addresses = fields(
    {"networkName": st.just("overlay")}, {"labels": labels, "discovery": fields({}, {"ports": st.lists(discovered_ports, max_size=2)})}
)
networks: st.SearchStrategy[list[Json]] = st.one_of(
    st.just([]),
    st.just([{"mode": "host"}]),
    st.just([{"mode": "container/bridge"}]),
    st.just([{"name": "overlay"}]),
    st.just([{"mode": "CONTAINER", "name": "overlay", "labels": {"a": "b"}}, {"mode": "container", "name": "second"}]),
)

_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "cmd": st.sampled_from(["sleep 1000", "./run --port $PORT0"]),
    "args": st.lists(st.sampled_from(["a", "-b"]), max_size=2),
    "user": st.just("nobody"),
    "env": st.dictionaries(st.sampled_from(["A", "B"]), st.one_of(texts, st.just({"secret": "s"})), max_size=2),
    "instances": small,
    "cpus": amounts,
    "mem": amounts,
    "disk": amounts,
    "gpus": small,
    "constraints": constraints,
    "fetch": fetches,
    "uris": st.lists(st.sampled_from(["http://h/a.tar.gz", "http://h/b.JAR", "x.ZIP", "http://h/c.gz?x=1"]), max_size=2),
    "container": containers,
    "check": checks,
    "ipAddress": ip_addresses,
    "networks": networks,
    "portDefinitions": port_definitions,
    "ports": st.lists(st.sampled_from([0, 8080]), max_size=2),
    "requirePorts": st.booleans(),
    "healthChecks": health_checks,
    "readinessChecks": readiness_checks,
    "dependencies": st.lists(st.sampled_from(["/x/y", "../z", "w"]), max_size=3),
    "labels": labels,
    "upgradeStrategy": st.fixed_dictionaries({"minimumHealthCapacity": shares, "maximumOverCapacity": shares}),
    "unreachableStrategy": st.one_of(
        st.just("disabled"), st.just({}), st.just({"inactiveAfterSeconds": 60, "expungeAfterSeconds": 120}), st.just("anything")
    ),
    "killSelection": cased("YOUNGEST_FIRST", "OLDEST_FIRST"),
    "taskKillGracePeriodSeconds": small,
    "backoffSeconds": small,
    "backoffFactor": st.sampled_from([1, 1.15, 2.0]),
    "acceptedResourceRoles": st.lists(st.sampled_from(["*", "slave_public"]), max_size=3),
    "role": st.sampled_from(["*", "web"]),
    "resourceLimits": st.sampled_from([{"cpus": "unlimited"}, {"mem": 256}]),
    "executorResources": st.just({"cpus": 0.2, "mem": 64, "disk": 10}),
    "tty": st.booleans(),
    "residency": st.just({"taskLostBehavior": "WAIT_FOREVER"}),
    "version": st.just("2026-01-01T00:00:00.000Z"),
    "unknownField": st.just(1),
}
definitions = st.builds(
    lambda app_id, rest: {"id": app_id, **rest},
    app_ids,
    st.fixed_dictionaries({}, optional={key: st.one_of(value, st.none()) for key, value in _OPTIONAL.items()}),
)
"""Apps as people write them: any fields, any case of enums, nulls, fields that Marathon rewrites, drops or ignores."""

some_fields = (
    st.lists(st.sampled_from(sorted(_OPTIONAL)), max_size=4, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: st.one_of(_OPTIONAL[name], _OPTIONAL[name], st.none()) for name in names}))
    .map(lambda chosen: {"cmd": "sleep 1", **chosen})
)
"""A few fields, so that Marathon takes most of what comes out."""
