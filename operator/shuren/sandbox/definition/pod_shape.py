"""The interface description of pods, as a table (Marathon 1.11's `Pod`)."""

from __future__ import annotations

from typing import Any

from .app_shape import (
    ANY_PORT,
    ARTIFACT,
    COMMAND_EXEC,
    ENVIRONMENT,
    EXECUTOR_RESOURCES,
    KILL_SELECTION,
    LABELS,
    LINUX_INFO,
    MESOS_COMMAND,
    NAME,
    NATURAL,
    NETWORK,
    PATH,
    PATH_ID,
    PERSISTENT,
    PULL_CONFIG,
    RESOURCE_LIMITS,
    SCHEME,
    SECRETS,
    UNREACHABLE_STRATEGY,
)
from .shape import Bool, Double, Enum, Int, Items, Obj, OneOf, Shape, Text, Timestamp, optional, required

_TIMES = (
    optional("intervalSeconds", NATURAL, 60),
    optional("timeoutSeconds", NATURAL, 20),
    optional("delaySeconds", NATURAL, 15),
)
_PROBES = (
    optional("http", Obj((required("endpoint", NAME), optional("path", PATH), optional("scheme", SCHEME, "HTTP")))),
    optional("tcp", Obj((required("endpoint", NAME),))),
    optional("exec", COMMAND_EXEC),
)
_HEALTH_CHECK = Obj((*_PROBES, optional("gracePeriodSeconds", NATURAL, 300), optional("maxConsecutiveFailures", NATURAL, 3), *_TIMES))
_CHECK = Obj((*_PROBES, *_TIMES))

_ENDPOINT = Obj(
    (
        required("name", NAME),
        optional("containerPort", Int(minimum=0, maximum=65535)),
        optional("hostPort", ANY_PORT),
        optional("protocol", Items(of=Text()), []),
        optional("labels", LABELS, {}),
        optional("networkNames", Items(of=Text()), []),
    )
)
_IMAGE = Obj(
    (
        required("kind", Enum(literals=("DOCKER",))),
        required("id", PATH),
        optional("pullConfig", PULL_CONFIG),
        optional("forcePull", Bool()),
        optional("labels", LABELS, {}),
    )
)
_RESOURCES = Obj(
    (
        required("cpus", Double(minimum=0)),
        required("mem", Double(minimum=0)),
        optional("disk", Double(minimum=0), 0.0),
        optional("gpus", NATURAL, 0),
    )
)
_CONTAINER = Obj(
    (
        required("name", NAME),
        optional("exec", Obj((required("command", MESOS_COMMAND), optional("overrideEntrypoint", Bool())))),
        required("resources", _RESOURCES),
        optional("resourceLimits", RESOURCE_LIMITS),
        optional("endpoints", Items(of=_ENDPOINT), []),
        optional("image", _IMAGE),
        optional("environment", ENVIRONMENT, {}),
        optional("user", Text()),
        optional("healthCheck", _HEALTH_CHECK),
        optional("check", _CHECK),
        optional("volumeMounts", Items(of=Obj((required("name", NAME), required("mountPath", PATH), optional("readOnly", Bool())))), []),
        optional("artifacts", Items(of=ARTIFACT), []),
        optional("labels", LABELS, {}),
        optional("lifecycle", Obj((optional("killGracePeriodSeconds", Double(minimum=0)),))),
        optional("tty", Bool()),
        optional("linuxInfo", LINUX_INFO),
    )
)


def _volume(value: Any) -> Shape:
    keys = value if isinstance(value, dict) else {}
    for key, shape in (("persistent", PERSISTENT), ("secret", Text()), ("host", Text(min_length=1))):
        if keys.get(key) is not None:
            return Obj((required("name", NAME), required(key, shape)))
    return Obj((required("name", NAME),))


_CONSTRAINT = Obj(
    (
        required("fieldName", Text(min_length=1)),
        required("operator", Enum(literals=("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"))),
        optional("value", Text()),
    )
)
_RATIO = Double(minimum=0.0, maximum=1.0)
_SCHEDULING = Obj(
    (
        optional(
            "backoff",
            Obj(
                (
                    optional("backoff", Double(minimum=0), 1.0),
                    optional("backoffFactor", Double(minimum=0), 1.15),
                    optional("maxLaunchDelay", Double(minimum=0), 300.0),
                )
            ),
        ),
        optional("upgrade", Obj((optional("minimumHealthCapacity", _RATIO, 1.0), optional("maximumOverCapacity", _RATIO, 1.0)))),
        optional(
            "placement",
            Obj((optional("constraints", Items(of=_CONSTRAINT, unique=True), []), optional("acceptedResourceRoles", Items(of=Text()), []))),
        ),
        optional("killSelection", KILL_SELECTION),
        optional("unreachableStrategy", UNREACHABLE_STRATEGY),
    )
)

POD = Obj(
    (
        required("id", PATH_ID),
        optional("labels", LABELS, {}),
        optional("version", Timestamp()),
        optional("user", Text()),
        optional("environment", ENVIRONMENT, {}),
        required("containers", Items(of=_CONTAINER)),
        optional("secrets", SECRETS, {}),
        optional("volumes", Items(of=OneOf(_volume)), []),
        optional("networks", Items(of=NETWORK), []),
        optional("scaling", Obj((required("kind", Enum(literals=("fixed",))), optional("instances", NATURAL, 1)))),
        optional("scheduling", _SCHEDULING),
        optional("executorResources", EXECUTOR_RESOURCES),
        optional("role", Text(min_length=1)),
        optional("linuxInfo", LINUX_INFO),
        optional("legacySharedCgroups", Bool()),
    )
)
