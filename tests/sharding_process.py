"""A member in a process of its own that answers a request of shard 0 whenever it may: `asked answered bound`, a line each.

python tests/sharding_process.py HOSTS PATH ID SESSION-SECONDS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "operator"))
sys.path.insert(0, str(Path(__file__).parent))

from sharding_server import RecordingServer
from shuren.sharding.lease import seconds
from shuren.sharding.member import ShardMember
from shuren.sharding.wrong_shard import NotServing, WrongShard
from shuren.sharding.zookeeper import ZooKeeperStore


def main(hosts: str, path: str, identity: str, session: float) -> None:
    """Goes on until its standard input ends."""
    with ShardMember(ZooKeeperStore(hosts, session_seconds=session), path, id=identity, server=RecordingServer(), retry=0.05) as member:
        while True:
            asked = seconds()
            try:
                permit = member.permit(0)
            except (NotServing, WrongShard):
                sys.stdout.write("refused\n")
            else:
                if permit.valid:
                    sys.stdout.write(f"{asked} {seconds()} {member.reply_bound}\n")
            sys.stdout.flush()
            time.sleep(0.002)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
