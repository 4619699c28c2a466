"""Networks and ports of a Marathon app, with the deprecated `ipAddress`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Caseless, Labels, Matches, Node, Port, Rule

MAX_PORTS = 128
PortName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", 'a port name has lower-case letters, digits and "-" inside; no "_"'),
]
NetworkName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?", 'a network name has lower-case letters, digits, and "-" or "_" inside'),
]


class NetworkMode(StrEnum):
    """How a task is attached."""

    HOST = "host"
    BRIDGE = "container/bridge"
    CONTAINER = "container"


class PortProtocol(StrEnum):
    """Transport of a port."""

    TCP = "tcp"
    UDP = "udp"
    BOTH = "udp,tcp"


class Network(Node):
    """One network that the tasks of the app join."""

    rules = (
        Rule(
            cel="!has(self.name) || !has(self.mode) || self.mode.lowerAscii() == 'container'",
            holds=lambda n: n.name is None or n.mode in (None, NetworkMode.CONTAINER),
            message="host and container/bridge networks have no name: remove name, or set mode to container",
            at="name",
        ),
        Rule(
            cel="!has(self.labels) || self.labels.size() == 0 || !has(self.mode) || self.mode.lowerAscii() != 'host'",
            holds=lambda n: not n.labels or n.mode is not NetworkMode.HOST,
            message="a host network takes no labels: remove them",
            at="labels",
        ),
    )

    name: NetworkName | None = None
    """Name of the container network (CNI or Docker). Marathon's default for mode container: its --default_network_name."""
    mode: Annotated[NetworkMode, Caseless(NetworkMode)] | None = None
    """host, container/bridge or container. Marathon's default: container."""
    labels: Labels | None = None
    """Labels handed to the network plugin (container and bridge networks)."""


class PortDefinition(Node):
    """One port on the agent (host networking)."""

    port: Port | None = None
    """Port number; 0 = Marathon picks a service port (10000 to 20000). It is the host port only with requirePorts. Marathon's default:
    0."""
    protocol: Annotated[PortProtocol, Caseless(PortProtocol)] | None = None
    """tcp, udp or "udp,tcp". Marathon's default: tcp."""
    name: PortName | None = None
    """Name of the port, unique in the app; checks and services refer to it."""
    labels: Labels | None = None
    """Labels of the port, e.g. VIP_0 for a named virtual IP."""


class PortMapping(Node):
    """One port of the container and how it is reached (bridge and container networks)."""

    container_port: Port | None = None
    """Port inside the container; 0 = the same as the host port. Marathon's default: 0."""
    host_port: Port | None = None
    """Port on the agent; 0 = one from the offer. Marathon's default: 0 in bridge mode, no host port in container mode."""
    service_port: Port | None = None
    """Port for service discovery; 0 = Marathon picks a free one (10000 to 20000). Marathon's default: 0."""
    protocol: Annotated[PortProtocol, Caseless(PortProtocol)] | None = None
    """tcp, udp or "udp,tcp". Marathon's default: tcp."""
    name: PortName | None = None
    """Name of the port, unique in the app; checks and services refer to it."""
    labels: Labels | None = None
    """Labels of the port. Marathon's default: {}."""
    network_names: Annotated[list[NetworkName], Field(max_length=16)] | None = None
    """Container networks that this mapping is for; exactly one when hostPort is set and the app joins several. Marathon's default: all."""


class DiscoveryPort(Node):
    """One port told to service discovery (deprecated `ipAddress`)."""

    number: Port | None = None
    """Port number. Marathon's default: 0, any."""
    name: PortName
    """Port name."""
    protocol: Annotated[PortProtocol, Caseless(PortProtocol)] | None = None
    """tcp, udp or "udp,tcp". Marathon's default: tcp."""
    labels: Labels | None = None
    """Labels of the port, e.g. VIP_0 for a named virtual IP. Marathon's default: {}."""


class Discovery(Node):
    """What is told to service discovery (deprecated `ipAddress`)."""

    ports: Annotated[list[DiscoveryPort], Field(max_length=MAX_PORTS)] | None = None
    """Ports of the app. Marathon's default: []."""


class IpAddress(Node):
    """Deprecated form of one container network; Marathon turns it into `networks`."""

    discovery: Discovery | None = None
    """What is told to service discovery."""
    groups: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)] | None = None
    """Ignored by Marathon 1.5 and later."""
    labels: Labels | None = None
    """Labels handed to the network plugin."""
    network_name: NetworkName | None = None
    """Name of the container network. Marathon's default: its --default_network_name."""
