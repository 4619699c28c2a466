"""Where members and operator meet, and in which words.

    <map>/live/<member>            ephemeral, the member's:
                                   {"id", "instance", "address", "generation", "sessionSeconds", "counts": {role: n},
                                    "load": {"total", "hottest": {shard: n}}}
    <map>/moves/<shard>            the operator's: {"state", "from", "to", "source", "term", "shardEpoch", "primary", "deadline", "shards"}
    <map>/moves/<shard>/<member>   the member's: {"state", "shardEpoch", "error", "shards"}

In the names of nodes a member's id is percent-encoded, as in a URL.
"""

from __future__ import annotations

import json
from urllib.parse import quote, unquote

from shuren.sharding.core.codec.fields import parsed
from shuren.sharding.core.errors import Malformed
from shuren.sharding.core.moves import Fence, Live, Move, MoveState, Report
from shuren.sharding.core.slots import MAX_SHARDS
from shuren.sharding.core.table import MAX_EPOCH, MAX_GENERATION

_MAX_BYTES = 64 << 10
_MAX_ERROR = 500


def node_name(member: str) -> str:
    """A member's id as the name of a node."""
    return member.replace(".", "%2E") if member in {".", ".."} else quote(member, safe="")


def member_of(name: str) -> str:
    """The id behind the name of a node."""
    return unquote(name)


def shard_of(name: str) -> int | None:
    """The shard behind the name of a node under moves/; None for a name that is no shard's."""
    if not name.isascii() or not name.isdigit() or len(name) > len(str(MAX_SHARDS)):
        return None
    shard = int(name)
    return shard if shard < MAX_SHARDS and name == str(shard) else None


def encode_move(move: Move) -> bytes:
    """The data of moves/<shard>."""
    return _json(
        {
            "state": move.state.value,
            "from": move.from_,
            "to": move.to,
            "source": move.source,
            "term": move.fence.term,
            "shardEpoch": move.fence.epoch,
            "primary": move.primary,
            "deadline": move.deadline,
            "shards": move.shards or None,
        }
    )


def decode_move(shard: int, data: bytes) -> Move:
    """The order for a shard. Malformed when it is none."""
    fields = parsed(data, f"moves/{shard}", most=_MAX_BYTES)
    return Move(
        shard=shard,
        state=_state(fields.text("state"), f"moves/{shard}"),
        from_=fields.text_or_none("from"),
        to=fields.text_or_none("to"),
        source=fields.text_or_none("source"),
        fence=Fence(term=fields.number("term", MAX_GENERATION), epoch=fields.number("shardEpoch", MAX_EPOCH)),
        primary=fields.flag("primary", default=True),
        deadline=fields.seconds("deadline"),
        shards=fields.count("shards", MAX_SHARDS),
    )


def encode_report(report: Report) -> bytes:
    """The data of moves/<shard>/<member>."""
    error, shards = report.error[:_MAX_ERROR], report.shards or None
    return _json({"state": report.state.value, "shardEpoch": report.epoch, "error": error, "shards": shards})


def decode_report(data: bytes) -> Report:
    """A member's answer. Malformed when it is none."""
    fields = parsed(data, "report", most=_MAX_BYTES)
    return Report(
        state=_state(fields.text("state"), "report"),
        epoch=fields.number("shardEpoch", MAX_EPOCH),
        error=fields.text_or_none("error") or "",
        shards=fields.count("shards", MAX_SHARDS),
    )


def encode_live(live: Live) -> bytes:
    """The data of live/<member>."""
    return _json(
        {
            "id": live.id,
            "instance": live.instance,
            "address": live.address,
            "generation": live.generation,
            "sessionSeconds": live.session_seconds,
            "counts": dict(live.counts),
            "load": {"total": live.load, "hottest": {str(s): n for s, n in live.hottest.items()}} if live.load is not None else None,
        }
    )


def decode_live(data: bytes) -> Live:
    """What a member says of itself. Malformed when it is nothing."""
    fields = parsed(data, "live", most=_MAX_BYTES)
    load = fields.optional("load")
    hottest = load.counts("hottest") if load is not None else {}
    shards = {name: shard_of(name) for name in hottest}
    return Live(
        id=fields.text("id"),
        instance=fields.text_or_none("instance") or "",
        address=fields.text_or_none("address") or "",
        generation=fields.number("generation", MAX_GENERATION),
        session_seconds=fields.seconds("sessionSeconds"),
        counts=fields.counts("counts"),
        load=load.number("total", MAX_GENERATION) if load is not None else None,
        hottest={shard: hottest[name] for name, shard in shards.items() if shard is not None},
    )


def _state(word: str, where: str) -> MoveState:
    try:
        return MoveState(word)
    except ValueError as error:
        raise Malformed(f"{where}: state {word!r} is not known to this library: update it") from error


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(
        {name: value for name, value in document.items() if value is not None}, separators=(",", ":"), sort_keys=True
    ).encode()
