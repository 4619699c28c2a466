"""Claims: read in one sweep, written in groups, each a compare-and-set under the fencing epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate_room import ROOT, Heard, pass_time, running, turns
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.claims import Claims
from shuren.domain import claims as rules
from shuren.domain.errors import Conflict, Fenced, NotOurs, ShurenError, UnknownOutcome, Unreachable
from shuren.domain.identity import Claim
from shuren.ports.zookeeper import Create, SetData


class Party:
    """One process' view of the claims."""

    def __init__(self, tree: ZooTree, clock: ManualClock, *, holder: str = "one") -> None:
        self.clock = clock
        self.holder = holder
        self.session = FakeZooKeeper(tree)
        self.root = FencedRoot(self.session, ROOT)
        self.heard = Heard()
        self.states = 0
        self.claims = Claims(
            zookeeper=self.root,
            clock=clock,
            changed=lambda ids: self.heard.apps_changed("test", ids),
            state_changed=self._state_changed,
        )

    def _state_changed(self) -> None:
        self.states += 1

    async def lead(self) -> None:
        await self.root.take_over(holder=self.holder, installation="i")

    def unreachable_since(self) -> float | None:
        """Asked anew each time: a type checker takes an attribute for a constant."""
        return self.claims.unreachable_since


def _claim(app_id: str, uid: str = "u1", name: str = "web") -> Claim:
    return Claim(app_id=app_id, uid=uid, namespace="shop", name=name, epoch=1)


NEIGHBOUR = next(f"/n{n}" for n in range(10_000) if rules.bucket_of(f"/n{n}") == rules.bucket_of("/a"))
"""In the bucket of `/a`."""
BUCKET = f"{ROOT}/owners/{rules.bucket_name(rules.bucket_of('/a'))}"


async def _party() -> Party:
    party = Party(ZooTree(), ManualClock())
    await party.lead()
    return party


async def _outcomes(*asked: Awaitable[None]) -> list[BaseException | None]:
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def test_an_empty_root_is_read_and_synced() -> None:
    party = await _party()
    async with running(party.claims.run()):
        assert party.claims.synced
        assert party.claims.count == 0
        assert party.unreachable_since() is None
        assert party.states == 1


async def test_a_claim_is_seen_here_and_by_others() -> None:
    party = await _party()
    other = Party(party.session.tree, party.clock)
    async with running(party.claims.run(), other.claims.run()):
        await party.claims.claim(_claim("/shop/web"))
        await turns()
        for claims in (party.claims, other.claims):
            assert claims.get("/shop/web") == _claim("/shop/web")
            assert claims.of("u1") == (_claim("/shop/web"),)
            assert claims.app_ids == {"/shop/web"}
        assert party.heard.ids == other.heard.ids == {"/shop/web"}


async def test_a_free_id_that_was_claimed_here_is_told_apart_from_what_others_do() -> None:
    tree, heard = ZooTree(), Heard()
    other = Party(tree, ManualClock(), holder="other")
    await other.lead()
    claims = Claims(
        zookeeper=other.root,
        clock=other.clock,
        changed=lambda ids: heard.apps_changed("test", ids),
        taken=lambda ids: heard.apps_claimed("test", ids),
    )
    async with running(claims.run(), other.claims.run()):
        await claims.claim(_claim("/mine"))
        await turns()
        assert (heard.claimed, heard.ids) == ([frozenset({"/mine"})], frozenset())
        assert other.heard.ids == {"/mine"}
        await other.claims.claim(_claim("/theirs"))
        await turns()
        await claims.claim(_claim("/mine", uid="u2", name="heir"), replaces="u1")
        await claims.release(_claim("/theirs"))
        assert heard.claimed == [frozenset({"/mine"})]
        assert heard.ids == {"/mine", "/theirs"}, "the former holder is to hear of it"


async def test_an_id_has_one_holder() -> None:
    party = await _party()
    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
        with pytest.raises(NotOurs, match="shop/web"):
            await party.claims.claim(_claim("/a", uid="u2", name="other"))
        await party.claims.claim(_claim("/a"))  # asking again is harmless
        assert party.claims.get("/a") == _claim("/a")


async def test_two_that_ask_at_once_do_not_both_get_it() -> None:
    party = await _party()
    async with running(party.claims.run()):
        outcomes = await _outcomes(party.claims.claim(_claim("/a")), party.claims.claim(_claim("/a", uid="u2")))
        assert outcomes[0] is None
        assert isinstance(outcomes[1], NotOurs)


async def test_the_claim_of_a_holder_that_is_gone_can_be_replaced_by_name_only() -> None:
    party = await _party()
    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
        with pytest.raises(NotOurs):
            await party.claims.claim(_claim("/a", uid="u2"), replaces="u9")
        await party.claims.claim(_claim("/a", uid="u2"), replaces="u1")
        assert party.claims.of("u1") == ()
        assert party.claims.of("u2") == (_claim("/a", uid="u2"),)


async def test_only_the_holder_gives_up() -> None:
    party = await _party()
    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
        await party.claims.release(_claim("/a", uid="u2"))
        assert party.claims.get("/a") is not None
        await party.claims.release(_claim("/a"))
        assert party.claims.get("/a") is None
        await party.claims.release(_claim("/a"))


async def test_ten_thousand_claims_are_a_handful_of_writes() -> None:
    party = await _party()
    async with running(party.claims.run()):
        commits = len(party.session.tree.commits)
        await asyncio.gather(*(party.claims.claim(_claim(f"/shop/app-{n}", uid=f"u{n}")) for n in range(10_000)))
        written = party.session.tree.commits[commits:]
        assert party.claims.count == 10_000
        assert len(written) <= 8
        assert all(len(operations) <= 501 for operations in written)
    fresh = Party(party.session.tree, party.clock)
    async with running(fresh.claims.run()):
        assert fresh.claims.count == 10_000


async def test_a_deposed_leader_cannot_claim() -> None:
    party = await _party()
    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
        successor = Party(party.session.tree, party.clock, holder="two")
        await successor.lead()
        with pytest.raises(Fenced):
            await party.claims.claim(_claim("/b"))
        assert party.unreachable_since() is None
        async with running(successor.claims.run()):
            assert successor.claims.app_ids == {"/a"}


async def test_nobody_claims_before_the_epoch_is_taken_over() -> None:
    party = Party(ZooTree(), ManualClock())
    async with running(party.claims.run()):
        with pytest.raises(Fenced):
            await party.claims.claim(_claim("/a"))


async def test_a_bucket_that_changed_meanwhile_is_a_conflict_and_then_read() -> None:
    party = await _party()
    foreigner = FakeZooKeeper(party.session.tree)

    def come_first(moment: Moment, what: str) -> None:
        if "/owners/" in what and moment is Moment.BEFORE:
            party.session.hook = None
            held = [_claim("/a"), _claim(NEIGHBOUR, uid="u7")]
            foreigner.tree.apply(foreigner.session_id, [SetData(path=BUCKET, data=rules.encode(held), version=-1)])

    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
        party.session.hook = come_first
        with pytest.raises(Conflict):
            await party.claims.release(_claim("/a"))
        await turns()
        assert party.claims.get(NEIGHBOUR) == _claim(NEIGHBOUR, uid="u7")
        await party.claims.release(_claim("/a"))
        assert party.claims.app_ids == {NEIGHBOUR}


async def test_a_bucket_that_changes_just_before_it_is_written_is_read_first_and_nobody_is_refused() -> None:
    party = await _party()
    foreigner = FakeZooKeeper(party.session.tree)

    def come_between(moment: Moment, what: str) -> None:
        if "/owners" in what and moment is Moment.AFTER:
            party.session.hook = None
            foreigner.tree.apply(foreigner.session_id, [Create(path=BUCKET, data=rules.encode([_claim(NEIGHBOUR, uid="u7")]))])
            party.claims._waker(rules.bucket_of("/a"))()  # the watch is faster than what goes on here

    async with running(party.claims.run()):
        party.session.hook = come_between
        await party.claims.claim(_claim("/a"))
        assert party.claims.app_ids == {"/a", NEIGHBOUR}, "the neighbour's came between"


@pytest.mark.parametrize("happened", ["written", "lost"])
async def test_a_lost_answer_is_resolved_by_reading(happened: str) -> None:
    party = await _party()

    def lose(moment: Moment, what: str) -> None:
        if "/owners/" in what and moment is (Moment.AFTER if happened == "written" else Moment.BEFORE):
            party.session.hook = None
            raise UnknownOutcome("the connection broke")

    async with running(party.claims.run()):
        await party.claims.claim(_claim("/first"))
        party.session.hook = lose
        with pytest.raises(UnknownOutcome):
            await party.claims.claim(_claim("/a"))
        await pass_time(party.clock, 2)
        assert (party.claims.get("/a") is not None) is (happened == "written")
        await party.claims.claim(_claim("/a"))
        assert party.claims.get("/a") == _claim("/a")


async def test_a_zookeeper_that_is_away_keeps_nobody_waiting_and_the_picture_stays() -> None:
    party = await _party()
    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
        party.session.expire()
        with pytest.raises(ShurenError):
            await party.claims.claim(_claim("/b"))
        await pass_time(party.clock, 1)
        assert party.claims.get("/a") == _claim("/a")
        party.session.reconnect()
        await pass_time(party.clock, 20)
        await party.claims.claim(_claim("/b"))
        assert party.claims.app_ids == {"/a", "/b"}
        assert party.unreachable_since() is None


async def test_what_cannot_be_read_is_not_taken_for_empty() -> None:
    party = await _party()
    async with running(party.claims.run()):
        await party.claims.claim(_claim("/a"))
    path = f"{ROOT}/owners/{rules.bucket_name(rules.bucket_of('/a'))}"
    party.session.tree._nodes[path].data = b"{broken"
    fresh = Party(party.session.tree, party.clock)
    await fresh.lead()
    async with running(fresh.claims.run()):
        assert not fresh.claims.synced
        assert "does not hold claims" in fresh.claims.error
        with pytest.raises(Unreachable):
            await asyncio.gather(fresh.claims.claim(_claim("/a", uid="u2")), pass_time(fresh.clock, 30))
        assert party.session.tree._nodes[path].data == b"{broken"


async def test_whoever_waits_is_told_when_the_connection_ends() -> None:
    party = await _party()
    party.session.disconnect()
    async with running(party.claims.run()):
        waiting = asyncio.ensure_future(party.claims.claim(_claim("/a")))
        await turns(3)
    with pytest.raises(Unreachable):
        await waiting


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.sampled_from(["u1", "u2"]), st.booleans(), st.sampled_from(["", "u1", "u2"])),
        max_size=25,
    )
)
def test_whatever_is_asked_an_id_has_one_holder_and_nobody_loses_it_to_a_stranger(steps: list[tuple[str, str, bool, str]]) -> None:
    held: dict[str, Claim] = {}
    for app_id, uid, take, replaces in steps:
        before = held.get(app_id)
        change = rules.ClaimChange(claim=_claim(app_id, uid=uid), take=take, replaces=replaces)
        try:
            after = rules.changed(held, change)
        except NotOurs:
            assert before is not None
            assert take
            assert before.uid not in {uid, replaces}
            continue
        held = held if after is None else after
        now = held.get(app_id)
        if take:
            assert now is not None
            assert now.uid == uid
        else:
            assert now is None or now.uid != uid
        if before is not None and before.uid not in {uid, replaces}:
            assert now == before
        assert rules.decode(rules.encode(held.values())) == held
        assert rules.changed(held, change) is None or not take
