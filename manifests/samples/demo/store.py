"""A sharded store of counters, as small as one can be that loses nothing when its shards move: `POST /add/<key>` answers the new count.

Of Shuren it uses the public library: `ShardMember` says which shards are served here, and calls what moves them. MAP and ZOOKEEPER say
where the map is, HOST is both the member's identity and where it listens.
"""

import http.server
import json
import os
import signal
import sys
import threading
import urllib.request

from shuren.sharding import Handoff, NotServing, ShardMember, WrongShard, ZooKeeperStore
from shuren.sharding.core import slot_of

HOST, PORT = os.environ["HOST"], int(os.environ["PORT0"])


class Store:
    """Counters by shard. The methods are what the library calls while a shard moves (`shuren.sharding.ShardServer`)."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shards: dict[int, dict[str, int]] = {}

    def prepare(self, handoff: Handoff, /) -> None:
        """Copy the shard from the member that has it."""
        if handoff.peer is None:
            self.shards.setdefault(handoff.shard, {})
        else:
            with urllib.request.urlopen(f"http://{handoff.address}/shard/{handoff.shard}", timeout=5) as reply:
                self.take(handoff.shard, json.load(reply))

    def catch_up(self, handoff: Handoff, /) -> None:
        """What changed since is given in `forward`, when nothing changes any more."""

    def forward(self, handoff: Handoff, /) -> None:
        """Nothing is served any more: the new member gets everything."""
        whole = json.dumps(self.shards.get(handoff.shard, {})).encode()
        request = urllib.request.Request(f"http://{handoff.address}/shard/{handoff.shard}", data=whole, method="PUT")
        urllib.request.urlopen(request, timeout=5).close()

    def activate(self, handoff: Handoff, /) -> None:
        """Serve."""
        with self.lock:
            self.shards.setdefault(handoff.shard, {})

    def drop(self, handoff: Handoff, /) -> None:
        """Forget."""
        with self.lock:
            self.shards.pop(handoff.shard, None)

    def resharded(self, before: int, after: int, /) -> None:
        """Each shard was split: a key of shard s is now in one of those from s * after / before on."""
        with self.lock:
            counts = {key: count for shard in self.shards.values() for key, count in shard.items()}
            whole = {shard * (after // before) + half for shard in self.shards for half in range(after // before)}
            self.shards = {shard: {} for shard in whole}
            for key, count in counts.items():
                self.shards.setdefault(slot_of(key, after), {})[key] = count

    def take(self, shard: int, counts: dict[str, int]) -> None:
        with self.lock:
            self.shards[shard] = counts

    def add(self, shard: int, key: str) -> int:
        with self.lock:
            counts = self.shards[shard]
            counts[key] = counts.get(key, 0) + 1
            return counts[key]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1

    def do_GET(self) -> None:
        if self.path.startswith("/shard/"):
            with store.lock:
                whole = json.dumps(store.shards.get(int(self.path.rpartition("/")[2]), {}))
            self.answer(200, whole.encode())
        elif self.path == "/ready":
            # asked by Marathon before it replaces the next task
            self.answer(200 if member.status.caught_up else 503, b"")
        else:
            self.answer(200, b"ok\n")

    def do_PUT(self) -> None:
        store.take(int(self.path.rpartition("/")[2]), json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(200, b"")

    def do_POST(self) -> None:
        key = self.path.rpartition("/")[2]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            with member.serving(key) as permit:
                count = store.add(permit.shard, key)
                self.answer(200, str(count).encode())
        except WrongShard as error:
            self.answer(421, error.to_bytes())
        except NotServing:
            self.answer(503, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


store = Store()
member = ShardMember(ZooKeeperStore(os.environ["ZOOKEEPER"]), os.environ["MAP"], id=HOST, address=f"{HOST}:{PORT}", server=store)
server = http.server.ThreadingHTTPServer((HOST, PORT), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with member:
    signal.pause()
