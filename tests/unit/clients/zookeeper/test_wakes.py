"""Whoever asks ZooKeeper for something is not held up by its being away: the one event loop of a process must go on."""

from __future__ import annotations

import select
import threading

from kazoo.client import KazooClient

from engine_process import free_port
from shuren.clients.zookeeper.tls import Handler
from shuren.clients.zookeeper.wakes import ReadEnd, WriteEnd, pair

MANY = 5000


def _put(end: WriteEnd, number: int) -> None:
    thread = threading.Thread(target=lambda: [end.send(b"\0") for _ in range(number)], daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "send waits"


def _taken(end: ReadEnd, most: int) -> int:
    number = 0
    while number <= most and select.select([end], [], [], 0)[0]:
        number += len(end.recv(1))
    return number


def test_more_wakes_than_a_socket_holds_wait_for_nobody_and_all_come_out() -> None:
    reading, writing = pair()
    _put(writing, MANY)
    assert _taken(reading, MANY) == MANY
    # and so when some are read in between
    _put(writing, MANY)
    assert sum(len(reading.recv(1)) for _ in range(1000)) == 1000
    _put(writing, MANY)
    assert _taken(reading, 2 * MANY) == 2 * MANY - 1000
    writing.close()
    reading.close()


def test_requests_of_a_server_that_is_away_are_taken_without_waiting() -> None:
    kazoo = KazooClient(hosts=f"127.0.0.1:{free_port()}", handler=Handler(), connection_retry={"max_tries": -1})
    kazoo.start_async()
    asking = threading.Thread(target=lambda: [kazoo.exists_async("/a") for _ in range(MANY)], daemon=True)
    asking.start()
    asking.join(30)
    assert not asking.is_alive()
    kazoo.stop()
    kazoo.close()
