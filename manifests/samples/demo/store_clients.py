"""Clients of store.py: each adds one to its keys for as long as standard input is open, and every answer must be one more than the last.

usage: store_clients.py ZOOKEEPER MAP CLIENTS. Says `n answered` now and then, and at the end as one line of JSON what was asked and what
failed.
"""

import http.client
import json
import sys
import threading
import time

from shuren.sharding import NotServing, ShardMapClient, WrongShard, ZooKeeperStore
from shuren.sharding.core import Member

hosts, path, clients = sys.argv[1], sys.argv[2], int(sys.argv[3])
ending, lock = threading.Event(), threading.Lock()
answered, slowest, failures = 0, 0.0, []


def loop(routes: ShardMapClient, number: int) -> None:
    global answered, slowest
    keys = [f"client-{number}:{n}" for n in range(40)]
    counts = dict.fromkeys(keys, 0)
    connections: dict[str, http.client.HTTPConnection] = {}

    def add(member: Member, key: str) -> int:
        connection = connections.setdefault(member.address, http.client.HTTPConnection(member.address, timeout=5))
        try:
            connection.request("POST", f"/add/{key}", body=b"")
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException):
            connections.pop(member.address).close()
            raise
        if reply.status == 421:
            raise WrongShard.from_bytes(body)
        if reply.status == 503:
            raise NotServing("not now", slot=0)
        return int(body)

    while not ending.is_set():
        for key in keys:
            began = time.monotonic()
            try:
                found = routes.call(key, lambda member, key=key: add(member, key), tries=60)
                problem = "" if found == counts[key] + 1 else f"{key}: {found} after {counts[key]}"
                counts[key] = found
            except Exception as error:
                problem = f"{key}: {type(error).__name__}: {error}"
            with lock:
                answered += 1
                slowest = max(slowest, time.monotonic() - began)
                if problem:
                    failures.append(problem)
            time.sleep(0.002)


with ShardMapClient(ZooKeeperStore(hosts), path) as routes:
    threads = [threading.Thread(target=loop, args=(routes, n)) for n in range(clients)]
    for thread in threads:
        thread.start()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    while not ending.wait(0.5):
        print(f"{answered} answered", flush=True)
    for thread in threads:
        thread.join()
print(json.dumps({"asked": answered, "failed": len(failures), "failures": failures[:5], "slowest": round(slowest, 3)}), flush=True)
