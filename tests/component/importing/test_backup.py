"""What only we hold is saved, lost, and brought back; what others hold by then stays theirs."""

from __future__ import annotations

from shuren.cli.backup import nodes_of, restored
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.domain import claims
from shuren.domain.identity import Claim
from shuren.ports.zookeeper import Create

ROOT = "/shuren/bj1"
UIDS = {("shop", "web"): "new-uid"}


def bucket(app_id: str) -> str:
    return f"/owners/{claims.bucket_name(claims.bucket_of(app_id))}"


def claim(app_id: str, uid: str, name: str) -> Claim:
    return Claim(app_id=app_id, uid=uid, namespace="shop", name=name, epoch=3)


async def tree(*held: Claim, shards: bool = True) -> FakeZooKeeper:
    zookeeper = FakeZooKeeper(ZooTree())
    await zookeeper.ensure_path(f"{ROOT}/owners")
    for one in held:
        await zookeeper.commit([Create(path=ROOT + bucket(one.app_id), data=claims.encode([one]))])
    if shards:
        await zookeeper.ensure_path(f"{ROOT}/shards/shop.map/moves")
        await zookeeper.commit([Create(path=f"{ROOT}/shards/shop.map/table", data=b"\x00\xffbinary")])
    await zookeeper.ensure_path(f"{ROOT}/endpoints")
    await zookeeper.commit([Create(path=f"{ROOT}/endpoints/shop.web", data=b"made again")])
    return zookeeper


async def test_a_lost_root_comes_back_under_the_present_uids() -> None:
    saved = await nodes_of(FencedRoot(await tree(claim("/shop/web", "old-uid", "web"), claim("/shop/gone", "x", "gone")), ROOT))
    assert not any(path.startswith("/endpoints") for path in saved)
    lost = FakeZooKeeper(ZooTree())
    made, kept = await restored(lost, ROOT, saved, UIDS)
    assert (made, kept) == (len(saved), 0)
    node = await lost.get(ROOT + bucket("/shop/web"))
    assert node is not None
    assert claims.decode(node.data)["/shop/web"].uid == "new-uid"
    gone = await lost.get(ROOT + bucket("/shop/gone"))
    assert gone is not None
    assert claims.decode(gone.data) == {}
    table = await lost.get(f"{ROOT}/shards/shop.map/table")
    assert table is not None
    assert table.data == b"\x00\xffbinary"
    assert await restored(lost, ROOT, saved, UIDS) == (0, len(saved))


async def test_what_somebody_holds_by_now_stays_his() -> None:
    saved = await nodes_of(FencedRoot(await tree(claim("/shop/web", "old-uid", "web")), ROOT))
    now = await tree(claim("/shop/web", "another", "other"), shards=False)
    await restored(now, ROOT, saved, UIDS)
    node = await now.get(ROOT + bucket("/shop/web"))
    assert node is not None
    assert claims.decode(node.data)["/shop/web"].uid == "another"


async def test_a_dry_run_writes_nothing() -> None:
    saved = await nodes_of(FencedRoot(await tree(claim("/shop/web", "old-uid", "web")), ROOT))
    lost = FakeZooKeeper(ZooTree())
    assert (await restored(lost, ROOT, saved, UIDS, dry_run=True))[0] == len(saved)
    assert await lost.get(ROOT) is None
