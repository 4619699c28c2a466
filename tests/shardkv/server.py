"""A member of the key-value service, in a process of its own: `python -m shardkv.server ZOOKEEPER PATH ID PORT DIRECTORY SESSION-SECONDS`.

A write is acknowledged once it is on the disks of all copies that could be made the primary: those of the table and those that joined,
but for members that say they have none and members whose sessions have ended. A read is answered under the same condition, so nobody sees
what might yet be lost. Of Shuren it uses `shuren.sharding` and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from shardkv.replica import Deposed, Disk, OutOfStep, Reign, Replica
from shardkv.wire import Broken, Connections, Json
from shuren.sharding import Handoff, NotServing, Permit, ShardMember, Unavailable, WrongShard, ZooKeeperStore
from shuren.sharding.core import slot_of

_PUSH_SECONDS = 0.4
_LOCK_SECONDS = 5.0
_BUSY_SECONDS = 0.3


class Silence(Exception):
    """Better no answer than one that may be wrong: the caller has to take the outcome for unknown."""


class OtherLayout(Exception):
    """Shards are counted otherwise here than by who asks: one of us has not split the map yet."""


class Store:
    """All shards of one member. What `ShardMember` calls, what clients ask for, and what members ask of each other."""

    def __init__(self, identity: str, address: str, directory: Path) -> None:
        self.id, self.address, self.disk = identity, address, Disk(directory)
        self.replicas = self.disk.replicas()
        self.member: ShardMember | None = None
        self._peers = Connections()
        self.lock = threading.Lock()
        """Of `replicas` and `disk`, which belong together."""

    def _replica(self, handoff: Handoff) -> Replica:
        with self.lock:
            if not self.disk.shards:
                self.disk.begin(handoff.shards)
            if handoff.shard not in self.replicas:
                self.replicas[handoff.shard] = Replica(self.disk.place, handoff.shard)
            return self.replicas[handoff.shard]

    # --------------------------------------------------------------------------------------- what the library calls

    def prepare(self, handoff: Handoff, /) -> None:
        replica = self._replica(handoff)
        if handoff.peer is not None:
            whole = self._ask(handoff.address, {"op": "copy", "shard": handoff.shard, "of": handoff.shards}, within=5.0)
            with held(replica):
                if not replica.leads and _reign(whole) >= replica.reign:
                    replica.replace(_reign(whole), whole["data"])

    def catch_up(self, handoff: Handoff, /) -> None:
        self._replica(handoff)
        if not handoff.primary and handoff.peer is not None:
            join: Json = {"op": "join", "shard": handoff.shard, "of": handoff.shards, "id": self.id, "address": self.address}
            self._ask(handoff.address, join, within=5.0)

    def forward(self, handoff: Handoff, /) -> None:
        replica = self._replica(handoff)
        with held(replica), contextlib.suppress(Deposed):
            replica.leads = False
            if handoff.peer is not None and replica.in_step.get(handoff.peer) != replica.at:
                self._push_all(replica, handoff.peer, handoff.address)

    def activate(self, handoff: Handoff, /) -> None:
        replica = self._replica(handoff)
        with held(replica):
            replica.lead((handoff.fence.term, handoff.fence.epoch, time.monotonic_ns()))

    def drop(self, handoff: Handoff, /) -> None:
        with self.lock:
            replica = self.replicas.pop(handoff.shard, None)
        if replica is not None:
            with held(replica):
                replica.forget()

    def resharded(self, before: int, after: int, /) -> None:
        with contextlib.ExitStack() as locks, self.lock:
            old = self.replicas
            for replica in old.values():
                locks.enter_context(held(replica))
                replica.closed = True
            self.replicas = self.disk.relay(after, _divided(old, before, after) if after > before else _united(old, before, after))
            for shard, replica in self.replicas.items():
                # a child's primary goes on under its parent's reign; of its copies it knows nothing any more
                replica.leads = after > before and old[shard * before // after].leads
            for replica in old.values():
                replica.close()

    # ----------------------------------------------------------------------------------------- what clients ask for

    def answer(self, request: Json) -> Json:
        """Silence when there is to be none."""
        assert self.member is not None
        try:
            match request["op"]:
                case "get" | "put":
                    return self.serve(self.member, request)
                case "copy":
                    return self._copied(request)
                case "join":
                    return self._joined(request)
                case _:
                    return self._followed(request)
        except OtherLayout:
            return {"error": "OTHER_LAYOUT"}
        except WrongShard as error:
            found: Json = json.loads(error.to_bytes())
            return found
        except NotServing as error:
            return {"error": "NOT_SERVING", "why": str(error), "slot": error.slot}

    def serve(self, member: ShardMember, request: Json) -> Json:
        """One request of a client."""
        with member.serving(request["key"]) as permit, held(replica := self.replicas[permit.shard]):
            if not permit.valid or replica.closed or not replica.leads or replica.reign[:2] != (permit.fence.term, permit.fence.epoch):
                raise NotServing("it is just being taken over", slot=permit.shard)
            if request["op"] == "put":
                replica.write(request["key"], request["value"])
            self._settle(replica, permit)
            if not permit.valid:
                raise Silence
            return {"value": replica.data.get(request["key"]), "fence": list(replica.reign[:2]), "shard": permit.shard, "by": self.id}

    def _settle(self, replica: Replica, permit: Permit) -> None:
        """Until every copy that counts is in step. Silence when that does not come about under this permit."""
        while True:
            behind = {i: a for i, a in self._copies(replica).items() if replica.in_step.get(i) != replica.at}
            if not behind:
                return
            if not permit.valid:
                raise Silence
            for identity, address in behind.items():
                try:
                    self._push(replica, identity, address)
                except Deposed as error:
                    raise Silence from error
            if any(replica.in_step.get(i) != replica.at and i not in replica.excused for i in behind):
                time.sleep(0.02)

    def _copies(self, replica: Replica) -> dict[str, str]:
        assert self.member is not None
        placed = {one.id: one.address for one in self.member.replicas(replica.shard)}
        return {i: a for i, a in (replica.joined | placed).items() if i != self.id and i not in replica.excused}

    # ------------------------------------------------------------------------------------- what members ask of each other

    def _push(self, replica: Replica, identity: str, address: str) -> None:
        """Bring one copy into step, or find out that it does not count."""
        if replica.in_step.get(identity) == replica.at - 1 and replica.last is not None:
            key, value = replica.last
            step: Json = {"op": "follow", "shard": replica.shard, "reign": replica.reign, "at": replica.at, "key": key, "value": value}
        else:
            step = _whole(replica) | {"op": "adopt"}
        step["of"] = self.disk.shards
        assert self.member is not None
        try:
            reply = self._peers.ask(address, step, within=_PUSH_SECONDS)
        except Broken:
            replica.in_step.pop(identity, None)
            with contextlib.suppress(Unavailable):
                if self.member.gone(identity):
                    _excuse(replica, identity)
            return
        match reply.get("error"):
            case None:
                replica.in_step[identity] = replica.at
            case "NO_COPY":
                _excuse(replica, identity)
            case "DEPOSED":
                raise Deposed(f"{identity} has seen a later primary of shard {replica.shard}")
            case _:
                replica.in_step.pop(identity, None)

    def _push_all(self, replica: Replica, identity: str, address: str) -> None:
        reply = self._ask(address, _whole(replica) | {"op": "adopt", "of": self.disk.shards}, within=5.0, may_fail=True)
        if reply.get("error") == "DEPOSED":
            raise Deposed(identity)
        if "error" in reply:
            raise Broken(f"{identity}: {reply['error']}")
        replica.in_step[identity] = replica.at

    def _asked_of(self, request: Json) -> Replica | None:
        """The replica that a member means; OtherLayout when it counts shards otherwise. Never of one layout under the number of another."""
        with held(self, within=_BUSY_SECONDS):
            if self.disk.shards not in {0, request["of"]}:
                raise OtherLayout
            return self.replicas.get(request["shard"])

    def _copied(self, request: Json) -> Json:
        replica = self._asked_of(request)
        if replica is None:
            return {"error": "NO_COPY"}
        with held(replica):
            if replica.closed:
                raise OtherLayout
            return _whole(replica)

    def _joined(self, request: Json) -> Json:
        replica = self._asked_of(request)
        if replica is None:
            return {"error": "NO_COPY"}
        with held(replica):
            if replica.closed:
                raise OtherLayout
            if not replica.leads:
                return {"error": "NOT_LEADING"}
            identity, address = request["id"], request["address"]
            replica.joined[identity] = address
            replica.excused.discard(identity)
            self._push_all(replica, identity, address)
            return {}

    def _followed(self, request: Json) -> Json:
        replica = self._asked_of(request)
        if replica is None:
            return {"error": "NO_COPY"}
        try:
            with held(replica, within=_BUSY_SECONDS):
                if request["op"] == "adopt":
                    replica.adopt(_reign(request), request["at"], request["data"])
                else:
                    replica.follow(_reign(request), request["at"], request["key"], request["value"])
        except Deposed:
            return {"error": "DEPOSED"}
        except OutOfStep:
            return {"error": "OUT_OF_STEP"}
        return {}

    def _ask(self, address: str, request: Json, *, within: float, may_fail: bool = False) -> Json:
        if not address:
            raise Broken("the table does not say where that member is")
        reply = self._peers.ask(address, request, within=within)
        if "error" in reply and not may_fail:
            raise Broken(f"{address}: {reply['error']}")
        return reply


def _divided(old: Mapping[int, Replica], before: int, after: int) -> dict[int, tuple[Reign, Json]]:
    content: dict[int, tuple[Reign, Json]] = {}
    for shard, replica in old.items():
        for child in range(shard * after // before, (shard + 1) * after // before):
            content[child] = replica.reign, {key: value for key, value in replica.data.items() if slot_of(key, after) == child}
    return content


def _united(old: Mapping[int, Replica], before: int, after: int) -> dict[int, tuple[Reign, Json]]:
    content: dict[int, tuple[Reign, Json]] = {}
    for shard in range(after):
        children = [old.get(child) for child in range(shard * before // after, (shard + 1) * before // after)]
        there = [child for child in children if child is not None]
        if len(there) == len(children):
            together = {key: value for child in there for key, value in child.data.items()}
            content[shard] = max(child.reign for child in there), together
    return content


@contextlib.contextmanager
def held(owner: Replica | Store, *, within: float = _LOCK_SECONDS) -> Iterator[None]:
    """The lock of either; Silence rather than to wait for ever (two members may wait for each other for a moment)."""
    if not owner.lock.acquire(timeout=within):
        raise Silence
    try:
        yield
    finally:
        owner.lock.release()


def _excuse(replica: Replica, identity: str) -> None:
    replica.excused.add(identity)
    replica.joined.pop(identity, None)
    replica.in_step.pop(identity, None)


def _whole(replica: Replica) -> Json:
    return {"shard": replica.shard, "reign": replica.reign, "at": replica.at, "data": replica.data}


def _reign(document: Json) -> Reign:
    term, epoch, since = document["reign"]
    return term, epoch, since


class _Lines(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        assert isinstance(self.server, Listener)
        for line in self.rfile:
            try:
                reply = self.server.store.answer(json.loads(line))
            except (Silence, Broken, Deposed):
                return
            self.wfile.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")


class Listener(socketserver.ThreadingTCPServer):
    """Takes connections for a store."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, store: Store) -> None:
        self.store = store
        super().__init__(("127.0.0.1", port), _Lines)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that went away is no event."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main(kind: type[Store], hosts: str, path: str, identity: str, port: str, directory: str, session: str) -> None:  # noqa: PLR0917
    """Goes on until its standard input ends."""
    store = kind(identity, f"127.0.0.1:{port}", Path(directory))
    member = ShardMember(
        ZooKeeperStore(hosts, session_seconds=float(session), request_seconds=float(session)),
        path,
        id=identity,
        address=store.address,
        server=store,
        holding=store.replicas,
        holding_of=store.disk.shards,
        retry=0.1,
        drain=5.0,
    )
    store.member = member
    with Listener(int(port), store) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        with contextlib.suppress(Unavailable):
            member.start(within=30.0)
        sys.stdout.write("up\n")
        sys.stdout.flush()
        sys.stdin.read()
        member.stop()
        listener.shutdown()


if __name__ == "__main__":
    main(Store, *sys.argv[1:])
