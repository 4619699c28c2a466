"""A member that answers whenever it believes itself the primary, asks neither its lease nor the copies, and does not listen to a primary
that replaced it: what the proof has to find out.

As `server`, with the same arguments.
"""

from __future__ import annotations

import sys

from shardkv.server import Silence, Store, held, main
from shardkv.wire import Json
from shuren.sharding import NotServing, ShardMember


class Careless(Store):
    """See the module."""

    def serve(self, member: ShardMember, request: Json) -> Json:
        shard = member.slot(request["key"])
        replica = self.replicas.get(shard)
        if replica is None or not replica.leads:
            raise NotServing("not here", slot=shard)
        with held(replica):
            if request["op"] == "put":
                replica.write(request["key"], request["value"])
            return {"value": replica.data.get(request["key"]), "fence": list(replica.reign[:2]), "shard": shard, "by": self.id}

    def _followed(self, request: Json) -> Json:
        replica = self.replicas.get(request["shard"])
        if replica is not None and replica.leads:
            raise Silence
        return super()._followed(request)


if __name__ == "__main__":
    main(Careless, *sys.argv[1:])
