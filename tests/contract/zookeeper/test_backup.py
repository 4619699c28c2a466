"""What only we hold, read out of ZooKeeper and brought back after its loss, on the fake and on a real server."""

from __future__ import annotations

from shuren.cli.backup import nodes_of, restored
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.domain import claims
from shuren.domain.identity import Claim
from shuren.ports.zookeeper import Create, Delete, ZooKeeper

BUCKET = f"/owners/{claims.bucket_name(claims.bucket_of('/shop/web'))}"


def claim(app_id: str, uid: str) -> Claim:
    return Claim(app_id=app_id, uid=uid, namespace="shop", name=app_id.rpartition("/")[2], epoch=3)


async def test_claims_and_shard_maps_come_back_after_their_loss(client: ZooKeeper, other: ZooKeeper, root: str) -> None:
    for path in ("/owners", "/shards/shop.cart/gen/1"):
        await client.ensure_path(root + path)
    data = claims.encode([claim("/shop/web", "old")])
    await client.commit(
        [Create(path=root + BUCKET, data=data), Create(path=f"{root}/shards/shop.cart/gen/1/map-0", data=bytes(range(256)))]
    )
    saved = await nodes_of(FencedRoot(client, root))
    assert saved.keys() == {
        "/owners",
        BUCKET,
        *(f"/shards{p}" for p in ("", "/shop.cart", *(f"/shop.cart/gen{q}" for q in ("", "/1", "/1/map-0")))),
    }

    for path in sorted(saved, reverse=True):
        await client.commit([Delete(path=root + path)])
    # the resource was made anew, with another uid; a dry run changes nothing
    uids = {("shop", "web"): "new"}
    assert await restored(other, root, saved, uids, dry_run=True) == (len(saved), 0)
    assert await nodes_of(FencedRoot(other, root)) == {}
    assert await restored(other, root, saved, uids) == (len(saved), 0)
    back = await nodes_of(FencedRoot(other, root))
    assert {path: node for path, node in back.items() if path != BUCKET} == {path: node for path, node in saved.items() if path != BUCKET}
    node = await client.get(root + BUCKET)
    assert node is not None
    assert claims.decode(node.data) == {"/shop/web": claim("/shop/web", "new")}
    # once more takes nothing from anybody
    made, _ = await restored(other, root, saved, {("shop", "web"): "newer"})
    assert made == 0
    assert await client.get(root + BUCKET) == node
