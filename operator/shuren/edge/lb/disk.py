"""The state directory: HAProxy's configuration, and all that it takes to go on without ZooKeeper.

current → gen-7/     what HAProxy starts with: haproxy.cfg, maps, certificate lists. The link is switched once a whole new one is there
certs/               certificates, authorities, users; 0600
last.json            the routes and endpoints that were last good
ahead                there while HAProxy may have been told of newer ones than stand in last.json
servers.state        states of servers, written before each reload and read by the new worker
api.sock, master.sock, peer.sock, haproxy.log
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shuren.domain.errors import FieldError, Invalid
from shuren.domain.haproxy.document import CONFIG_FILE, Written
from shuren.domain.service.values import EndpointSet, Route, ServiceName
from shuren.domain.service.wire import decode_endpoints, decode_head, decode_route, encode_endpoints, encode_route

_GENERATION = re.compile(r"gen-(\d+)")
_WHOLE = 1 << 40
"""No chunks on disk."""


@dataclass(frozen=True, kw_only=True)
class LastGood:
    """What was carried when it was last written. `structure` is the fingerprint of the document that HAProxy then had loaded."""

    routes: Mapping[ServiceName, Route] = field(default_factory=dict)
    endpoints: Mapping[ServiceName, EndpointSet] = field(default_factory=dict)
    structure: str = ""


class StateDirectory:
    """See the module."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.certs = root / "certs"
        self.current = root / "current"
        self.api_socket = root / "api.sock"
        self.master_socket = root / "master.sock"
        self.peer_socket = root / "peer.sock"
        self.state_file = root / "servers.state"
        self.log = root / "haproxy.log"
        self._last = root / "last.json"
        self._ahead = root / "ahead"
        self._encoded: dict[ServiceName, tuple[EndpointSet, str]] = {}
        self._saved = LastGood()

    @property
    def configuration(self) -> Path:
        """What HAProxy is started with; always the same path, so that a reload finds the newest."""
        return self.current / CONFIG_FILE

    def prepare(self) -> None:
        """Make what is missing, for nobody else to read. Invalid when that cannot be done."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.certs.mkdir(exist_ok=True, mode=0o700)
            if not self.state_file.exists():
                self.state_file.write_text("1\n")
        except OSError as error:
            message = f"{self.root} cannot be made or written: {error.strerror}"
            raise Invalid(message, errors=(FieldError(path="--state-dir", message=message),)) from error

    # --------------------------------------------------------------------------------------------- configurations

    def candidate(self, written: Written) -> Path:
        """Write a configuration beside the one in use; give its directory."""
        numbers = [int(match[1]) for path in self.root.iterdir() if (match := _GENERATION.fullmatch(path.name))]
        directory = self.root / f"gen-{max(numbers, default=0) + 1}"
        directory.mkdir(mode=0o700)
        for name, text in written.files.items():
            (directory / name).write_text(text)
        return directory

    def switch(self, directory: Path) -> Path | None:
        """Make it the one that HAProxy reads; give the one before, which is kept until `tidy`."""
        before = self.in_use()
        link = self.root / "next"
        link.unlink(missing_ok=True)
        link.symlink_to(directory.name)
        link.replace(self.current)
        return before

    def in_use(self) -> Path | None:
        """The directory that `current` leads to."""
        return self.root / os.readlink(self.current) if self.current.is_symlink() else None  # noqa: PTH115 - the name, not the target

    def discard(self, directory: Path) -> None:
        """A candidate that was refused."""
        shutil.rmtree(directory, ignore_errors=True)

    def tidy(self, keep: Iterable[Path | None]) -> None:
        """Remove configurations that are neither in use nor to be kept."""
        kept = {path.name for path in [*keep, self.in_use()] if path is not None}
        for path in self.root.iterdir():
            if _GENERATION.fullmatch(path.name) and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def rewrite(self, written: Written) -> None:
        """Bring servers and maps of the configuration in use up to date, for a HAProxy that is started or reloaded by somebody else."""
        directory = self.in_use()
        if directory is not None:
            for name, text in written.files.items():
                self._put(directory / name, text.encode())

    # -------------------------------------------------------------------------------------------------- last good

    def save(self, last: LastGood) -> None:
        """Remember what is carried."""
        document = {
            "structure": last.structure,
            "routes": {str(s): {"group": r.group, "route": encode_route(r).decode()} for s, r in sorted(last.routes.items())},
            "endpoints": {str(s): self._encoded_endpoints(s, e) for s, e in sorted(last.endpoints.items())},
        }
        self._encoded = {s: known for s, known in self._encoded.items() if s in last.endpoints}
        self._put(self._last, json.dumps(document, ensure_ascii=False).encode())
        self._saved = last
        self._ahead.unlink(missing_ok=True)

    def outdate(self, service: ServiceName, route: Route | None, endpoints: EndpointSet | None) -> None:
        """HAProxy is about to be told of this; unless it is remembered already, what is remembered is not the newest any more."""
        if self._saved.endpoints.get(service) is not endpoints or self._saved.routes.get(service) != route:
            self._ahead.touch()

    @property
    def whole(self) -> bool:
        """Whether HAProxy was told of nothing newer than what is remembered."""
        return not self._ahead.exists()

    def _encoded_endpoints(self, service: ServiceName, endpoints: EndpointSet) -> str:
        """Most services are as they were when all was saved before."""
        known = self._encoded.get(service)
        if known is None or known[0] is not endpoints:
            known = self._encoded[service] = (endpoints, encode_endpoints(endpoints, limit=_WHOLE).head.decode())
        return known[1]

    def load(self) -> LastGood:
        """What was remembered; nothing when there is nothing, or it cannot be read."""
        try:
            document = json.loads(self._last.read_bytes())
            routes = {ServiceName.parse(name): item for name, item in document["routes"].items()}
            endpoints = {ServiceName.parse(name): text for name, text in document["endpoints"].items()}
            return LastGood(
                structure=str(document["structure"]),
                routes={s: decode_route(item["route"].encode(), service=s, group=item["group"]) for s, item in routes.items()},
                endpoints={s: decode_endpoints(decode_head(text.encode())) for s, text in endpoints.items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Invalid):
            return LastGood()

    # ----------------------------------------------------------------------------------------------------- files

    def put_state(self, text: str) -> None:
        """States of servers for the next worker."""
        self._put(self.state_file, text.encode())

    def put_material(self, name: str, data: bytes) -> None:
        """A certificate; readable by us alone from the first byte on."""
        self._put(self.certs / name, data)

    @staticmethod
    def _put(path: Path, data: bytes) -> None:
        """Whole or not at all, whatever happens in between."""
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
