"""A process stopped beyond its session and resumed: not one reply that a client would believe after somebody else took over."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import sharding_process
from sharding_operator import KazooTree, Operator, wait_until
from sharding_server import RecordingServer
from sharding_tables import even_table, members_of
from shuren.sharding.core.moves import Fence, Move, MoveState
from shuren.sharding.lease import seconds
from shuren.sharding.member import ShardMember
from shuren.sharding.zookeeper import ZooKeeperStore

_MEMBERS = members_of(2)


def test_a_process_that_was_stopped_is_not_believed_afterwards(hosts: str, kazoo_tree: KazooTree, root: str, tmp_path: Path) -> None:
    operator = Operator(kazoo_tree, root)
    operator.publish(even_table(_MEMBERS, 1, 2))
    log = tmp_path / "replies"
    command = [sys.executable, sharding_process.__file__, hosts, root, "node-0", "1.0"]
    successor = ShardMember(ZooKeeperStore(hosts, session_seconds=4.0), root, id="node-1", server=RecordingServer(), retry=0.05)
    with log.open("wb") as out, subprocess.Popen(command, stdout=out) as process, successor:
        try:
            wait_until(lambda: any(line[:1].isdigit() for line in log.read_text().splitlines()))
            wait_until(lambda: successor.status.held == {"standby": 1})
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: kazoo_tree.get(f"{root}/live/node-0") is None)
            move = Move(shard=0, state=MoveState.ACTIVATE, from_="node-0", to="node-1", fence=Fence(term=1, epoch=1))
            operator.order(move)
            wait_until(lambda: operator.answered(move))
            taken_over = seconds()
            lines = len(log.read_text().splitlines())
            process.send_signal(signal.SIGCONT)
            # it comes back, finds the move, and goes on refusing
            wait_until(lambda: kazoo_tree.get(f"{root}/live/node-0") is not None)
            wait_until(lambda: log.read_text().splitlines()[lines:].count("refused") > 200)
        finally:
            process.kill()
    replies = [tuple(map(float, line.split())) for line in log.read_text().splitlines() if line[:1].isdigit() and line.count(" ") == 2]
    believed = [(asked, answered) for asked, answered, bound in replies if answered - asked <= bound]
    assert believed
    assert [reply for reply in believed if reply[1] > taken_over] == []
