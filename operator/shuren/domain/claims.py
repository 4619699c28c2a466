"""Claims on Marathon app ids, as they lie in ZooKeeper under `owners/`: 256 buckets, each a JSON object of app id -> owner.

Buckets keep ten thousand claims readable in 256 reads and make a claim a compare-and-set of one small node.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shuren.domain.errors import Invalid, NotOurs, Throttled
from shuren.domain.identity import Claim

BUCKETS = 256
LARGEST = 900_000
"""Bytes of one bucket. ZooKeeper refuses packets above 1 MiB (jute.maxbuffer)."""


def bucket_of(app_id: str) -> int:
    """The bucket of an id, 0..255; stable for ever, since it is where other releases look."""
    return hashlib.sha256(app_id.encode()).digest()[0]


def bucket_name(bucket: int) -> str:
    """The node's name under `owners/`: two hexadecimal digits."""
    return f"{bucket:02x}"


def encode(claims: Iterable[Claim]) -> bytes:
    """One bucket's data. Throttled when it would no longer fit into a znode (some thousand claims: a million apps in the cluster)."""
    document = {c.app_id: {"uid": c.uid, "namespace": c.namespace, "name": c.name, "epoch": c.epoch} for c in claims}
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > LARGEST:
        raise Throttled(f"a node under owners/ would hold {len(data)} bytes, more than {LARGEST}; release claims first")
    return data


def decode(data: bytes) -> dict[str, Claim]:
    """The claims of one bucket by app id. Invalid when the data is not what `encode` writes; unknown fields are ignored."""
    if not data:
        return {}
    try:
        document = json.loads(data)
        return {
            app_id: Claim(app_id=app_id, uid=c["uid"], namespace=c["namespace"], name=c["name"], epoch=int(c["epoch"]))
            for app_id, c in document.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"the node under owners/ does not hold claims: {error!r}; restore it from a backup") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimChange:
    """Claim (`take`) or give up (`take` False) one id, on behalf of the resource in `claim`.

    `replaces` is the uid of a holder that does not exist any more, whose claim may be taken over; empty: nobody's.
    """

    claim: Claim
    take: bool
    replaces: str = ""


def changed(known: Mapping[str, Claim], change: ClaimChange) -> dict[str, Claim] | None:
    """A bucket after a change; None when it is as wished already. NotOurs when another resource holds the id."""
    claim = change.claim
    holder = known.get(claim.app_id)
    ours = holder is not None and holder.uid == claim.uid
    if not change.take:
        return {app_id: c for app_id, c in known.items() if app_id != claim.app_id} if ours else None
    if ours:
        return None
    if holder is not None and holder.uid != change.replaces:
        raise NotOurs(f"{claim.app_id} is claimed by PaasApp {holder.namespace}/{holder.name} (uid {holder.uid})")
    return {**known, claim.app_id: claim}
