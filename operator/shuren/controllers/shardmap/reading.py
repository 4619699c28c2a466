"""From the resource's JSON to the values that decisions know: the rim where api models end and the domain begins."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from shuren.api.problems import problems
from shuren.api.v1alpha1 import shardmap as api
from shuren.controllers.identity import cluster_of
from shuren.domain.app.snapshot import Problem
from shuren.domain.identity import ObjectKey
from shuren.domain.shardmap.snapshot import Identity, MapResource, MapSpec, SourceMember
from shuren.domain.shards.load import LoadPolicy
from shuren.domain.shards.members import Spread, SpreadLevel
from shuren.domain.shards.migration import Caps, Deadlines, MovePolicy
from shuren.domain.shards.partitions import Partitioning
from shuren.ports.kubernetes import Object
from shuren.sharding.core.table import KeyHash

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class MembersSpec:
    """`spec.members`: exactly one of `app`, `service` (names) and `static`. `attribute` of agents names their rack."""

    app: str = ""
    service: str = ""
    static: tuple[SourceMember, ...] = ()
    identity: Identity = Identity.HOST
    weights: tuple[tuple[str, int], ...] = ()
    attribute: str = "rack"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A resource as far as it could be read. `spec` is None, and `problem` says why, when the schema refuses it."""

    resource: MapResource
    cluster: str
    spec: MapSpec | None = None
    members: MembersSpec | None = None
    problem: Problem | None = None


def read(key: ObjectKey, item: Object) -> Reading:
    """Read a ShardMap. Never raises: what is wrong becomes a problem."""
    metadata = item["metadata"]
    resource = MapResource(
        key=key,
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations=dict(metadata.get("annotations") or {}),
        status=item.get("status") or {},
    )
    cluster = cluster_of(item.get("spec") or {})
    try:
        model = api.read(item)
    except ValidationError as error:
        found = [str(problem) for problem in problems(error)]
        more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
        return Reading(resource=resource, cluster=cluster, problem=Problem(reason="InvalidSpec", message="; ".join(found[:_SHOWN]) + more))
    return Reading(resource=resource, cluster=cluster, spec=_spec(model.spec), members=_members(model.spec))


def _spec(model: api.ShardMapSpec) -> MapSpec:
    spread = Spread(level=SpreadLevel(model.spread.level.value.lower()), required=model.spread.required)
    return MapSpec(
        cluster=model.cluster_ref.name,
        hash=KeyHash.CRC16 if model.algorithm is api.Algorithm.REDIS16384 else KeyHash.XXH64,
        partitionings=tuple(Partitioning(name=p.name, shards=p.shards) for p in model.partitionings),
        replicas=model.replicas,
        spread=spread,
        load=_load(model.balance),
        policy=_policy(model.moves),
        paused=model.moves.paused,
        drain=frozenset(model.members.drain or ()),
        require_idle=model.turndown_policy is api.TurndownPolicy.REQUIRE_IDLE,
        suspend=model.suspend,
    )


def _load(model: api.Balance) -> LoadPolicy | None:
    if model.by is api.BalanceBy.COUNT:
        return None
    return LoadPolicy(
        above=model.above_percent / 100,
        until=model.until_percent / 100,
        budget=model.budget_percent / 100,
        every=model.round_seconds,
    )


def _policy(model: api.Moves) -> MovePolicy:
    limits = model.deadlines
    return MovePolicy(
        caps=_caps(model.planned),
        recovery=_caps(model.recovery),
        deadlines=Deadlines(
            prepare=limits.prepare_seconds,
            catch_up=limits.catch_up_seconds,
            forward=limits.forward_seconds,
            activate=limits.activate_seconds,
            drop=limits.drop_seconds,
            abort=limits.abort_seconds,
        ),
        delay=model.delay_seconds,
        promote_after=model.promote_after_seconds,
        retry_after=model.retry_seconds,
        abandon=model.abandon_lost,
    )


def _caps(model: api.Caps) -> Caps:
    return Caps(incoming=model.incoming, outgoing=model.outgoing, share=model.percent / 100)


def _members(model: api.ShardMapSpec) -> MembersSpec:
    members = model.members
    static = (SourceMember(id=m.id, weight=m.weight, host=m.host, rack=m.rack, address=m.address) for m in members.static or ())
    return MembersSpec(
        app=members.app_ref.name if members.app_ref is not None else "",
        service=members.service_ref.name if members.service_ref is not None else "",
        static=tuple(static),
        identity=Identity(members.identity.value),
        weights=tuple((w.id, w.weight) for w in members.weights or ()),
        attribute=model.spread.attribute,
    )
