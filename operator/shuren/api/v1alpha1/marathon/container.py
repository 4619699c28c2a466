"""The container of a Marathon app: engine, image, port mappings, volumes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Anything, Caseless, Node, Reason, Rule, unique
from shuren.api.v1alpha1.marathon.networking import MAX_PORTS, PortMapping

MAX_VOLUMES = 64
Size = Annotated[int, Field(ge=0, le=2**53, json_schema_extra={"format": "int64"})]
Path = Annotated[str, Field(min_length=1, max_length=4096)]


class Engine(StrEnum):
    """Containerizer."""

    MESOS = "MESOS"
    DOCKER = "DOCKER"


class DockerNetwork(StrEnum):
    """Deprecated networking mode of a Docker container."""

    BRIDGE = "BRIDGE"
    HOST = "HOST"
    USER = "USER"


class VolumeMode(StrEnum):
    """Access of a volume."""

    RO = "RO"
    RW = "RW"


class DiskType(StrEnum):
    """Kind of Mesos disk resource."""

    ROOT = "root"
    PATH = "path"
    MOUNT = "mount"


class IpcMode(StrEnum):
    """IPC namespace of the container."""

    PRIVATE = "PRIVATE"
    SHARE_PARENT = "SHARE_PARENT"


class DockerParameter(Node):
    """One option of `docker run`."""

    key: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the option without dashes, e.g. hostname."""
    value: Annotated[str, Field(max_length=4096)]
    """Its value."""


class PullConfig(Node):
    """Credentials for pulling the image (MESOS engine, Marathon feature `secrets`)."""

    secret: Annotated[str, Field(min_length=1, max_length=253)]
    """Key under `secrets` that holds a docker config.json."""


class Docker(Node):
    """A Docker image and how to run it."""

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    """Image reference."""
    force_pull_image: bool | None = None
    """Whether to pull even when the agent has the image. Marathon's default: false."""
    privileged: bool | None = None
    """Whether to run in privileged mode (DOCKER engine). Marathon's default: false."""
    parameters: Annotated[list[DockerParameter], Field(max_length=256)] | None = None
    """Further options of `docker run` (DOCKER engine). Marathon's default: []."""
    pull_config: PullConfig | None = None
    """Credentials for the registry (MESOS engine)."""
    network: Annotated[DockerNetwork, Caseless(DockerNetwork)] | None = None
    """Deprecated, use `networks`: BRIDGE, HOST or USER."""
    port_mappings: Annotated[list[PortMapping], Field(max_length=MAX_PORTS)] | None = None
    """Deprecated, use `container.portMappings`."""


class PersistentVolume(Node):
    """Disk reserved on one agent; it pins the task there and survives it."""

    rules = (
        Rule(
            cel="!has(self.maxSize) || (has(self.type) && self.type.lowerAscii() == 'mount' && self.maxSize > self.size)",
            holds=lambda v: v.max_size is None or (v.type is DiskType.MOUNT and v.max_size > v.size),
            message="maxSize is for type mount only and must be greater than size",
            at="maxSize",
        ),
        Rule(
            cel="!has(self.constraints) || self.constraints.size() == 0 || (has(self.type) && self.type.lowerAscii() != 'root')",
            holds=lambda v: not v.constraints or v.type not in (None, DiskType.ROOT),
            message="root volumes take no constraints: remove them, or set type to path or mount",
            at="constraints",
        ),
        Rule(
            cel="!has(self.constraints) || self.constraints.all(c, c.size() == 3 && c[0] == 'path' && c[1] in ['LIKE', 'UNLIKE'])",
            holds=lambda v: all(len(c) == 3 and c[0] == "path" and c[1] in ("LIKE", "UNLIKE") for c in v.constraints or []),  # noqa: PLR2004 - a triple
            message='each constraint must read ["path", "LIKE" or "UNLIKE", regular expression]',
            at="constraints",
        ),
    )

    type: Annotated[DiskType, Caseless(DiskType)] | None = None
    """root, path or mount. Marathon's default: root."""
    size: Annotated[int, Field(gt=0, le=2**53, json_schema_extra={"format": "int64"})]
    """Size in MiB."""
    max_size: Size | None = None
    """Largest mount disk to take, in MiB (type mount)."""
    profile_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Disk profile that the agent must offer."""
    constraints: (
        Annotated[list[Annotated[list[Annotated[str, Field(max_length=1024)]], Field(min_length=2, max_length=3)]], Field(max_length=16)]
        | None
    ) = None
    """Which disks to take, as ["path", "LIKE"|"UNLIKE", regular expression]. Marathon's default: []."""


class ExternalVolume(Node):
    """A network volume (Marathon feature `external_volumes`)."""

    name: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Name of the volume; needed by the provider dvdi."""
    provider: Annotated[str, Field(min_length=1, max_length=253)]
    """dvdi or csi."""
    size: Size | None = None
    """Size in GiB when it has to be created (dvdi)."""
    options: Annotated[dict[str, Anything], Field(max_length=64)] | None = None
    """Options of the provider, e.g. "dvdi/driver": "rexray"."""
    shared: bool | None = None
    """Whether several instances may share it. Marathon's default: false."""


def _kinds(volume: Volume) -> int:
    return sum(source is not None for source in (volume.host_path, volume.persistent, volume.external, volume.secret))


class Volume(Node):
    """One mount of the container: exactly one of hostPath, persistent, external and secret."""

    rules = (
        Rule(
            cel="[has(self.hostPath), has(self.persistent), has(self.external), has(self.secret)].filter(x, x).size() == 1",
            holds=lambda v: _kinds(v) == 1,
            message="a volume needs exactly one of hostPath, persistent, external, secret",
        ),
        Rule(
            cel="has(self.secret) || has(self.mode)",
            holds=lambda v: v.secret is not None or v.mode is not None,
            message="mode is required: RO or RW",
            at="mode",
            reason=Reason.REQUIRED,
        ),
        Rule(
            cel="!has(self.persistent) || !has(self.mode) || self.mode.lowerAscii() == 'rw'",
            holds=lambda v: v.persistent is None or v.mode in (None, VolumeMode.RW),
            message="a persistent volume must have mode RW",
            at="mode",
        ),
        Rule(
            cel="!has(self.persistent) || !self.containerPath.contains('/')",
            holds=lambda v: v.persistent is None or "/" not in v.container_path,
            message="the containerPath of a persistent volume is one name without '/': Marathon mounts it inside the sandbox",
            at="containerPath",
        ),
    )

    container_path: Path
    """Where the container sees it; a plain name without slash for persistent volumes."""
    host_path: Path | None = None
    """Path on the agent (host volume)."""
    mode: Annotated[VolumeMode, Caseless(VolumeMode)] | None = None
    """RO or RW; required except for secret volumes."""
    persistent: PersistentVolume | None = None
    """Persistent local volume."""
    external: ExternalVolume | None = None
    """External volume."""
    secret: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Key under `secrets` whose value becomes the file (Marathon feature `secrets`)."""


class Seccomp(Node):
    """Seccomp filter of the container."""

    rules = (
        Rule(
            cel="has(self.profileName) != (has(self.unconfined) && self.unconfined)",
            holds=lambda s: (s.profile_name is not None) != bool(s.unconfined),
            message="give profileName, or unconfined: true, and not both",
            at="profileName",
        ),
    )

    profile_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of a profile on the agent."""
    unconfined: bool | None = None
    """Whether to run without a filter. Marathon's default: unset."""


class IpcInfo(Node):
    """Shared memory of the container."""

    rules = (
        Rule(
            cel="!has(self.shmSize) || self.mode.lowerAscii() != 'share_parent'",
            holds=lambda i: i.shm_size is None or i.mode is not IpcMode.SHARE_PARENT,
            message="a shared /dev/shm has the size that it has: remove shmSize, or set mode to PRIVATE",
            at="shmSize",
        ),
    )

    mode: Annotated[IpcMode, Caseless(IpcMode)]
    """PRIVATE or SHARE_PARENT."""
    shm_size: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Size of /dev/shm in MiB."""


class LinuxInfo(Node):
    """Linux isolation (MESOS engine)."""

    seccomp: Seccomp | None = None
    """Seccomp filter."""
    ipc_info: IpcInfo | None = None
    """IPC namespace and shared memory."""


_ENGINE = "(has(self.type) ? self.type.upperAscii() : 'DOCKER')"


def _not_mesos_only(container: Container) -> bool:
    docker = container.docker
    return (
        container.engine is Engine.DOCKER
        or docker is None
        or (docker.network is None and not docker.parameters and docker.port_mappings is None)
    )


class Container(Node):
    """What the task runs in."""

    rules = (
        Rule(
            cel=f"{_ENGINE} != 'DOCKER' || has(self.docker)",
            holds=lambda c: c.engine is Engine.MESOS or c.docker is not None,
            message="type DOCKER (the default) needs docker.image; for a plain command set type to MESOS",
            at="docker",
            reason=Reason.REQUIRED,
        ),
        Rule(
            cel=f"{_ENGINE} != 'MESOS' || !has(self.docker) || !(has(self.docker.network) || has(self.docker.portMappings)"
            " || (has(self.docker.parameters) && self.docker.parameters.size() > 0))",
            holds=_not_mesos_only,
            message="with type MESOS, docker takes neither parameters, network nor portMappings: use networks and container.portMappings",
            at="docker",
            reason=Reason.FORBIDDEN,
        ),
        Rule(
            cel=f"{_ENGINE} != 'DOCKER' || !has(self.docker) || !has(self.docker.pullConfig)",
            holds=lambda c: c.engine is Engine.MESOS or c.docker is None or c.docker.pull_config is None,
            message="pullConfig works with type MESOS only",
            at="docker.pullConfig",
            reason=Reason.FORBIDDEN,
        ),
        Rule(
            cel=f"{_ENGINE} != 'DOCKER' || !has(self.linuxInfo)",
            holds=lambda c: c.engine is Engine.MESOS or c.linux_info is None,
            message="linuxInfo works with type MESOS only",
            at="linuxInfo",
            reason=Reason.FORBIDDEN,
        ),
        Rule(
            cel="!has(self.portMappings) || self.portMappings.all(p,"
            " !has(p.name) || self.portMappings.exists_one(q, has(q.name) && q.name == p.name))",
            holds=lambda c: unique([mapping.name for mapping in c.port_mappings or []]),
            message="port names must be unique",
            at="portMappings",
        ),
        Rule(
            cel="!(has(self.portMappings) && has(self.docker) && has(self.docker.portMappings) && self.docker.portMappings.size() > 0)",
            holds=lambda c: c.port_mappings is None or c.docker is None or not c.docker.port_mappings,
            message="docker.portMappings is the deprecated form of portMappings: keep one of the two",
            at="docker.portMappings",
            reason=Reason.FORBIDDEN,
        ),
    )

    type: Annotated[Engine, Caseless(Engine)] | None = None
    """MESOS or DOCKER. Marathon's default: DOCKER."""
    docker: Docker | None = None
    """Docker image; required with type DOCKER."""
    port_mappings: Annotated[list[PortMapping], Field(max_length=MAX_PORTS)] | None = None
    """Ports of the container (bridge and container networks; dropped by Marathon with host networking). Marathon's default: one mapping
    named "default"; [] for none."""
    volumes: Annotated[list[Volume], Field(max_length=MAX_VOLUMES)] | None = None
    """Mounts. Marathon's default: []."""
    linux_info: LinuxInfo | None = None
    """Linux isolation (MESOS engine)."""

    @property
    def engine(self) -> Engine:
        """Containerizer with Marathon's default."""
        return self.type or Engine.DOCKER
