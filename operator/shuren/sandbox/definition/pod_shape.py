"""The interface description of pods, as a table (Marathon 1.11's `Pod`)."""

from __future__ import annotations

from .app_shape import (
    ANY_PORT,
    ARTIFACT,
    COMMAND_EXEC,
    ENVIRONMENT_VALUE,
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
from .shape import AnyOf, Bool, Double, Enum, Int, Items, Lenient, MapOf, Obj, Tagged, Text, Timestamp, optional, required

_ENVIRONMENT = MapOf(of=ENVIRONMENT_VALUE, keys=r"[a-zA-Z_][a-zA-Z0-9_]{0,253}?")
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
        optional("protocol", Items(of=Text(), min_items=1), []),
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
        optional("cpus", Double(minimum=0), 1.0),
        optional("mem", Double(minimum=0), 128.0),
        optional("disk", Double(minimum=0), 0.0),
        optional("gpus", NATURAL, 0),
    )
)
_CONTAINER = Obj(
    (
        required("name", NAME),
        optional("exec", Obj((required("command", MESOS_COMMAND), optional("overrideEntrypoint", Bool())), plain=True)),
        required("resources", _RESOURCES),
        optional("resourceLimits", RESOURCE_LIMITS),
        optional("endpoints", Items(of=_ENDPOINT), []),
        optional("image", _IMAGE),
        optional("environment", _ENVIRONMENT, {}),
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


_VOLUME = AnyOf(
    (
        Obj((required("name", Text(min_length=1)), required("persistent", PERSISTENT))),
        Obj((required("name", Text(min_length=1)), required("secret", Text(min_length=1)))),
        Obj((required("name", NAME), required("host", Text()))),
        Obj((required("name", NAME),)),
    )
)

_CONSTRAINT = Obj(
    (
        required("fieldName", Text()),
        required("operator", Enum(literals=("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"))),
        optional("value", Text()),
    ),
    plain=True,
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
        optional("environment", _ENVIRONMENT, {}),
        required("containers", Items(of=_CONTAINER, min_items=1)),
        optional("secrets", SECRETS, {}),
        optional("volumes", Items(of=_VOLUME), []),
        optional("networks", Items(of=NETWORK), []),
        optional("scaling", Tagged(key="kind", shapes={"fixed": Obj((optional("instances", Lenient(Int(), 1), 1),))})),
        optional("scheduling", _SCHEDULING),
        optional("executorResources", EXECUTOR_RESOURCES),
        optional("role", Text(min_length=1)),
        optional("linuxInfo", LINUX_INFO),
        optional("legacySharedCgroups", Bool()),
    )
)
