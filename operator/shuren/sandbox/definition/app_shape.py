"""The interface description of apps, as a table: fields, types, limits and defaults of Marathon 1.11's `App` and `AppUpdate`.

Limits that Marathon's generated readers do not enforce are left out on purpose: those of scalar items within lists, and fractions of minima
(`cpus` 0.001 is enforced as 0).
"""

from __future__ import annotations

from dataclasses import replace

from . import paths
from .shape import AnyOf, Bool, Double, Enum, Int, Items, Lenient, MapOf, Obj, Text, Timestamp, Word, optional, required

PATH_ID = Text(min_length=1, accept=paths.well_formed)
NAME = Text(min_length=1, max_length=63, pattern=r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LEGACY_NAME = Text(min_length=1, pattern=r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NETWORK_NAME = Text(min_length=1, max_length=63, pattern=r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
URI = Text(min_length=1, max_length=1024)
PATH = Text(min_length=1, max_length=1024)
LABELS = MapOf(of=Text())
ANY_PORT = Int(minimum=0, maximum=65535)
NATURAL = Int(minimum=0)
PROTOCOL = Enum(literals=("tcp", "udp", "udp,tcp"))
READ_MODE = Enum(literals=("RO", "RW"))
SCHEME = Enum(literals=("HTTP", "HTTPS"))

ENVIRONMENT_VALUE = AnyOf((Text(), Obj((required("secret", Text()),), plain=True)))
ENVIRONMENT = MapOf(of=ENVIRONMENT_VALUE)
SECRETS = MapOf(of=Obj((required("source", Text(min_length=1)),)))

ARTIFACT = Obj(
    (
        required("uri", URI),
        optional("extract", Bool(), True),
        optional("executable", Bool(), False),
        optional("cache", Bool(), False),
        optional("destPath", PATH),
    )
)

NETWORK = Obj(
    (
        optional("name", NETWORK_NAME),
        optional("mode", Enum(literals=("container", "container/bridge", "host")), "container"),
        optional("labels", LABELS, {}),
    )
)

PORT_DEFINITION = Obj(
    (
        optional("port", ANY_PORT, 0),
        optional("labels", LABELS, {}),
        optional("name", LEGACY_NAME),
        optional("protocol", PROTOCOL, "tcp"),
    )
)

PORT_MAPPING = Obj(
    (
        optional("containerPort", ANY_PORT, 0),
        optional("hostPort", ANY_PORT),
        optional("labels", LABELS, {}),
        optional("name", LEGACY_NAME),
        optional("protocol", PROTOCOL, "tcp"),
        optional("servicePort", ANY_PORT, 0),
        optional("networkNames", Items(of=Text()), []),
    )
)

_COMMAND_CHECK = Obj((required("value", Text()),), plain=True)
APP_HEALTH_CHECK = Obj(
    (
        optional("command", _COMMAND_CHECK),
        optional("gracePeriodSeconds", NATURAL, 300),
        optional("ignoreHttp1xx", Bool()),
        optional("intervalSeconds", NATURAL, 60),
        optional("maxConsecutiveFailures", NATURAL, 3),
        optional("path", Text()),
        optional("port", ANY_PORT),
        optional("portIndex", ANY_PORT),
        optional("protocol", Enum(literals=("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS")), "HTTP"),
        optional("ipProtocol", Enum(literals=("IPv4", "IPv6")), "IPv4"),
        optional("timeoutSeconds", Int(), 20),
        optional("delaySeconds", NATURAL, 15),
    )
)


MESOS_COMMAND = AnyOf((Obj((required("shell", Text(min_length=1)),)), Obj((required("argv", Items(of=Text(), min_items=1)),))))
COMMAND_EXEC = Obj((required("command", MESOS_COMMAND),), plain=True)
_APP_CHECK = Obj(
    (
        optional(
            "http",
            Obj((optional("portIndex", ANY_PORT), optional("port", ANY_PORT), optional("path", PATH), optional("scheme", SCHEME, "HTTP"))),
        ),
        optional("tcp", Obj((optional("portIndex", ANY_PORT), optional("port", ANY_PORT)))),
        optional("exec", COMMAND_EXEC),
        optional("intervalSeconds", NATURAL, 60),
        optional("timeoutSeconds", NATURAL, 20),
        optional("delaySeconds", NATURAL, 15),
    )
)

_READINESS_CHECK = Obj(
    (
        optional("name", Text(min_length=1), "readinessCheck"),
        optional("protocol", SCHEME, "HTTP"),
        optional("path", PATH, "/"),
        optional("portName", LEGACY_NAME, "http-api"),
        optional("intervalSeconds", NATURAL, 30),
        optional("timeoutSeconds", Int(minimum=1), 10),
        optional("httpStatusCodesForReady", Items(of=Int(), unique=True, min_items=1)),
        optional("preserveLastResponse", Bool(), False),
    )
)

CONSTRAINT = Items(of=Text())
PERSISTENT = Obj(
    (
        optional("type", Enum(literals=("root", "path", "mount"))),
        required("size", Int(minimum=0, long=True)),
        optional("maxSize", Int(minimum=0, long=True)),
        optional("profileName", Text(min_length=1)),
        optional("constraints", Items(of=CONSTRAINT, unique=True), []),
    )
)
CSI_MODES = (
    "SINGLE_NODE_WRITER",
    "SINGLE_NODE_READER_ONLY",
    "MULTI_NODE_READER_ONLY",
    "MULTI_NODE_SINGLE_WRITER",
    "MULTI_NODE_MULTI_WRITER",
)
_EXTERNAL = Obj(
    (
        optional("size", Int(minimum=0, long=True)),
        optional("name", Text()),
        optional("provider", Text()),
        optional("options", LABELS, {}),
        optional("shared", Bool(), False),
    )
)
_CSI_SECRETS = MapOf(of=Obj((required("secret", Text()),), plain=True))
_CSI = Obj(
    (
        required("provider", Enum(literals=("csi",))),
        required("name", Text(min_length=1)),
        required(
            "options",
            Obj(
                (
                    required("pluginName", Text(min_length=1)),
                    required(
                        "capability",
                        Obj(
                            (
                                required("accessType", Enum(literals=("block", "mount"))),
                                required("accessMode", Enum(literals=CSI_MODES)),
                                optional("fsType", Text()),
                                optional("mountFlags", Items(of=Text()), []),
                            )
                        ),
                    ),
                    optional("nodeStageSecret", _CSI_SECRETS, {}),
                    optional("nodePublishSecret", _CSI_SECRETS, {}),
                    optional("volumeContext", LABELS, {}),
                )
            ),
        ),
    )
)
_CONTAINER_PATH = required("containerPath", Text(min_length=1))
_MODE = required("mode", READ_MODE)


_VOLUME = AnyOf(
    (
        Obj((_CONTAINER_PATH, _MODE, required("persistent", PERSISTENT))),
        Obj((_CONTAINER_PATH, _MODE, required("external", AnyOf((_CSI, _EXTERNAL))))),
        Obj((_CONTAINER_PATH, required("secret", Text(min_length=1)))),
        Obj((_CONTAINER_PATH, _MODE, required("hostPath", Text(min_length=1)))),
    )
)


PULL_CONFIG = Obj((required("secret", Text(min_length=1)),))
_DOCKER = Obj(
    (
        optional("credential", Obj((required("principal", Text()), optional("secret", Text())), plain=True)),
        optional("forcePullImage", Bool(), False),
        required("image", Text(min_length=1)),
        optional("pullConfig", PULL_CONFIG),
        optional("network", Enum(literals=("BRIDGE", "HOST", "NONE", "USER"))),
        optional("parameters", Items(of=Obj((required("key", Text(min_length=1)), required("value", Text())))), []),
        optional("portMappings", Items(of=PORT_MAPPING)),
        optional("privileged", Bool(), False),
    )
)
LINUX_INFO = Obj(
    (
        optional("seccomp", Obj((optional("profileName", Text()), optional("unconfined", Lenient(Bool(), False), False)))),
        optional("ipcInfo", Obj((required("mode", Enum(literals=("PRIVATE", "SHARE_PARENT"))), optional("shmSize", NATURAL)))),
    ),
    plain=True,
)
_CONTAINER = Obj(
    (
        optional("type", Enum(literals=("MESOS", "DOCKER")), "DOCKER"),
        optional("docker", _DOCKER),
        optional("linuxInfo", LINUX_INFO),
        optional("volumes", Items(of=_VOLUME), []),
        optional("portMappings", Items(of=PORT_MAPPING)),
    )
)

_IP_ADDRESS = Obj(
    (
        optional(
            "discovery",
            Obj(
                (
                    optional(
                        "ports",
                        Items(
                            of=Obj(
                                (
                                    optional("number", ANY_PORT, 0),
                                    required("name", LEGACY_NAME),
                                    optional("protocol", PROTOCOL, "tcp"),
                                    optional("labels", LABELS, {}),
                                )
                            )
                        ),
                        [],
                    ),
                )
            ),
        ),
        optional("groups", Items(of=Text(), unique=True), []),
        optional("labels", LABELS, {}),
        optional("networkName", Text(min_length=1)),
    )
)


_RESOURCE_LIMIT = AnyOf((Text(), Double()))
RESOURCE_LIMITS = Obj((optional("cpus", _RESOURCE_LIMIT), optional("mem", _RESOURCE_LIMIT)), plain=True)
EXECUTOR_RESOURCES = Obj(
    (
        optional("cpus", Double(minimum=0), 0.1),
        optional("mem", Double(minimum=32), 32.0),
        optional("disk", Double(minimum=10), 10.0),
    )
)


UNREACHABLE_STRATEGY = AnyOf(
    (
        Word("disabled"),
        Obj(
            (
                optional("inactiveAfterSeconds", Int(minimum=0, long=True), 0),
                optional("expungeAfterSeconds", Int(minimum=0, long=True), 0),
            )
        ),
    )
)
KILL_SELECTION = Enum(literals=("YOUNGEST_FIRST", "OLDEST_FIRST"))
_RATIO = Double(minimum=0.0, maximum=1.0)

_FIELDS = (
    required("id", PATH_ID),
    optional("acceptedResourceRoles", Items(of=Text(), unique=True)),
    optional("args", Items(of=Text()), []),
    optional("backoffFactor", Double(minimum=1.0), 1.15),
    optional("backoffSeconds", NATURAL, 1),
    optional("check", _APP_CHECK),
    optional("cmd", Text(min_length=1)),
    optional("constraints", Items(of=CONSTRAINT, unique=True), []),
    optional("container", _CONTAINER),
    optional("cpus", Double(minimum=0), 1.0),
    optional("dependencies", Items(of=Text(), unique=True), []),
    optional("disk", Double(minimum=0), 0.0),
    optional("env", ENVIRONMENT, {}),
    optional("executor", Text(pattern=r"(//cmd)|(/?[^/]+(/[^/]+)*)|"), ""),
    optional("executorResources", EXECUTOR_RESOURCES),
    optional("fetch", Items(of=ARTIFACT), []),
    optional("gpus", NATURAL, 0),
    optional("healthChecks", Items(of=APP_HEALTH_CHECK, unique=True), []),
    optional("instances", NATURAL, 1),
    optional("ipAddress", _IP_ADDRESS),
    optional("killSelection", KILL_SELECTION, "YOUNGEST_FIRST"),
    optional("labels", LABELS, {}),
    optional("maxLaunchDelaySeconds", NATURAL, 300),
    optional("mem", Double(minimum=0), 128.0),
    optional("networks", Items(of=NETWORK), []),
    optional("portDefinitions", Items(of=PORT_DEFINITION)),
    optional("ports", Items(of=Int())),
    optional("readinessChecks", Items(of=_READINESS_CHECK), []),
    optional(
        "residency",
        Obj(
            (
                optional("relaunchEscalationTimeoutSeconds", Int(minimum=0, long=True), 3600),
                optional("taskLostBehavior", Enum(literals=("WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT")), "WAIT_FOREVER"),
            )
        ),
    ),
    optional("requirePorts", Bool(), False),
    optional("resourceLimits", RESOURCE_LIMITS),
    optional("role", Text(min_length=1)),
    optional("secrets", SECRETS, {}),
    optional("taskKillGracePeriodSeconds", NATURAL),
    optional("tty", Bool()),
    optional("unreachableStrategy", UNREACHABLE_STRATEGY),
    optional("upgradeStrategy", Obj((required("maximumOverCapacity", _RATIO), required("minimumHealthCapacity", _RATIO)))),
    optional("uris", Items(of=Text())),
    optional("user", Text()),
    optional("version", Timestamp()),
    optional("versionInfo", Obj((required("lastScalingAt", Timestamp()), required("lastConfigChangeAt", Timestamp())), plain=True)),
)

APP = Obj(_FIELDS)
"""A whole app: what is missing gets its default."""

APP_UPDATE = Obj(tuple(replace(field, required=False, default=None) for field in _FIELDS))
"""A partial app: what is missing stays missing."""
