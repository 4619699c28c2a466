"""What every algorithm promises, on every backend."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding_tables import even_table, members_of
from shuren.sharding.core import (
    NOBODY,
    Algorithm,
    Backend,
    Jump,
    Ketama,
    Key,
    KeyHash,
    Maglev,
    Member,
    NoMember,
    Rendezvous,
    Ring,
    Router,
    Slots,
    Unusable,
    available,
    make_table,
    router_of_members,
)
from shuren.sharding.core.algorithms.ring import laid_out, point

_MEMBERS = members_of(7)
_KEYS = [f"user:{number}" for number in range(3_000)]
_OF_MEMBERS = [Algorithm.RENDEZVOUS, Algorithm.RING, Algorithm.KETAMA, Algorithm.MAGLEV, Algorithm.JUMP]
_BY_ID = [Algorithm.RENDEZVOUS, Algorithm.RING, Algorithm.KETAMA, Algorithm.MAGLEV]
_MINIMAL = [Algorithm.RENDEZVOUS, Algorithm.RING]
"""Move only what a leaver had or a joiner gets. Ketama's points follow the number of members, and Maglev only tries."""

_ids = pytest.mark.parametrize("algorithm", _OF_MEMBERS, ids=lambda a: a.value)


def _routed(router: Router) -> dict[str, str]:
    return dict(zip(_KEYS, (m.id for m in router.route_many(_KEYS)), strict=True))


def _all(backend: Backend) -> list[Router]:
    return [
        *(router_of_members(algorithm, _MEMBERS, replicas=3, backend=backend) for algorithm in _OF_MEMBERS),
        Slots(even_table(_MEMBERS, 64, 3), backend=backend),
        Slots(even_table(_MEMBERS, 16_384, 3, key_hash=KeyHash.CRC16), backend=backend),
    ]


@pytest.mark.parametrize("use", [Backend.XXHASH, Backend.NATIVE], ids=lambda b: b.value)
def test_backends_agree_on_any_key(use: Backend) -> None:
    if use not in available():
        pytest.skip(f"{use.value} is not there")
    pairs = list(zip(_all(Backend.PYTHON), _all(use), strict=True))

    @given(st.one_of(st.binary(max_size=80), st.text(max_size=40), st.text(alphabet="ab{}", max_size=10)))
    def agree(key: str | bytes) -> None:
        for slow, fast in pairs:
            assert (slow.slot(key), slow.route(key), slow.replicas(key)) == (fast.slot(key), fast.route(key), fast.replicas(key))

    agree()


@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1), (1, 2, 3, 0, 9), (1_000_000, 1, 1, 1, 1)])
def test_backends_agree_whatever_the_weights(weights: tuple[int, ...], backend: Backend) -> None:
    members = [replace(m, weight=weight) for m, weight in zip(_MEMBERS, weights, strict=False)]
    slow, fast = Rendezvous(members, backend=Backend.PYTHON), Rendezvous(members, backend=backend)
    assert _routed(slow) == _routed(fast)


def test_many_keys_at_once_are_the_same_keys(backend: Backend) -> None:
    keys: list[Key] = [*_KEYS[:200], b"bytes", "{tag}x", ""]
    for router in _all(backend):
        one_by_one = [router.route(key) for key in keys]
        for given_keys in (keys, tuple(keys), dict.fromkeys(keys), iter(keys)):
            assert router.route_many(given_keys) == one_by_one
        assert router.route_many([]) == []


def test_one_key_is_not_taken_for_many(backend: Backend) -> None:
    for router in _all(backend):
        for key in ("abc", b"abc"):
            with pytest.raises(TypeError, match="list of keys"):
                router.route_many(key)  # type: ignore[arg-type]


def test_what_is_no_key_is_refused(backend: Backend) -> None:
    for router in _all(backend):
        for key in (7, None, bytearray(b"a")):
            for ask in (router.route, router.slot, router.replicas, lambda k, r=router: r.route_many(["a", k])):
                with pytest.raises(TypeError, match="a key is str or bytes"):
                    ask(key)  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            router.route("\ud800")


def test_replicas_are_distinct_and_the_first_is_the_primary(backend: Backend) -> None:
    for router in _all(backend):
        for key in _KEYS[:100]:
            replicas = router.replicas(key)
            assert replicas[0] == router.route(key)
            assert len(set(replicas)) == len(replicas) == 3


@_ids
def test_candidates_are_all_members_once(algorithm: Algorithm) -> None:
    router = router_of_members(algorithm, _MEMBERS, replicas=2)
    for key in _KEYS[:50]:
        candidates = list(router.candidates(key))
        assert sorted(m.id for m in candidates) == sorted(m.id for m in _MEMBERS)
        assert tuple(candidates[:2]) == router.replicas(key)


@_ids
def test_fewer_members_than_replicas_give_all_there_are(algorithm: Algorithm) -> None:
    assert sorted(m.id for m in router_of_members(algorithm, _MEMBERS[:2], replicas=5).replicas("a")) == ["node-0", "node-1"]


@pytest.mark.parametrize("algorithm", _BY_ID, ids=lambda a: a.value)
def test_neither_the_order_of_members_nor_their_addresses_matter(algorithm: Algorithm) -> None:
    moved = [replace(m, address="elsewhere:1", number=99 - m.number) for m in reversed(_MEMBERS)]
    assert _routed(router_of_members(algorithm, _MEMBERS)) == _routed(router_of_members(algorithm, moved))


@pytest.mark.parametrize("algorithm", _MINIMAL, ids=lambda a: a.value)
def test_a_leave_moves_only_what_the_leaver_had_and_a_join_only_to_the_joiner(algorithm: Algorithm) -> None:
    more, fewer = _routed(router_of_members(algorithm, _MEMBERS)), _routed(router_of_members(algorithm, _MEMBERS[:-1]))
    moved = {key for key in _KEYS if more[key] != fewer[key]}
    assert moved == {key for key in _KEYS if more[key] == "node-6"}
    assert moved


@pytest.mark.parametrize("algorithm", _MINIMAL, ids=lambda a: a.value)
def test_a_changed_weight_moves_only_from_or_to_its_member(algorithm: Algorithm) -> None:
    before, after = (
        _routed(router_of_members(algorithm, [replace(m, weight=weight if m.number == 3 else 2) for m in _MEMBERS])) for weight in (2, 4)
    )
    moved = {key for key in _KEYS if before[key] != after[key]}
    assert moved
    assert {after[key] for key in moved} == {"node-3"}


def test_jump_grows_only_into_the_new_member() -> None:
    fewer, more = _routed(Jump(_MEMBERS[:-1])), _routed(Jump(_MEMBERS))
    assert {more[key] for key in _KEYS if more[key] != fewer[key]} == {"node-6"}


@_ids
def test_members_of_one_weight_get_about_the_same(algorithm: Algorithm) -> None:
    """Counts of fixed keys: rings within ±35 % (160 points), the others within ±15 %."""
    shares = Counter(_routed(router_of_members(algorithm, _MEMBERS)).values())
    mean = len(_KEYS) / len(_MEMBERS)
    allowed = 0.35 if algorithm in {Algorithm.RING, Algorithm.KETAMA} else 0.15
    assert all(abs(shares[m.id] / mean - 1) < allowed for m in _MEMBERS), shares


@pytest.mark.parametrize("algorithm", _BY_ID, ids=lambda a: a.value)
def test_shares_follow_weights_and_weight_0_gets_nothing(algorithm: Algorithm) -> None:
    members = [replace(m, weight=weight) for m, weight in zip(_MEMBERS, (0, 1, 2, 4), strict=False)]
    shares = Counter(_routed(router_of_members(algorithm, members)).values())
    assert shares["node-0"] == 0
    assert [shares[f"node-{n}"] / (len(_KEYS) / 7) for n in (1, 2, 3)] == pytest.approx([1, 2, 4], rel=0.35)


def test_a_table_of_maglev_is_even_to_one_row() -> None:
    rows = Counter(Maglev(_MEMBERS, rows=101)._table)
    assert max(rows.values()) - min(rows.values()) <= 1


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_small_tables_of_maglev(rows: int, backend: Backend) -> None:
    assert {m.id for m in Maglev(_MEMBERS[:2], rows=rows, backend=backend).route_many(_KEYS)} == {"node-0", "node-1"}


@_ids
def test_one_member_gets_everything(algorithm: Algorithm, backend: Backend) -> None:
    assert set(_routed(router_of_members(algorithm, _MEMBERS[:1], backend=backend)).values()) == {"node-0"}


def test_two_points_at_one_place_belong_to_the_greater_id() -> None:
    assert laid_out([point(5, 1), point(5, 0), point(3, 0)]) == ([3, 5], [0, 1])


# ------------------------------------------------------------------------------------------------------------------------------ tables


def test_a_shard_of_nobody_says_so(backend: Backend) -> None:
    table = make_table(shards=2, replicas=2, members=_MEMBERS[:1], owners=[0, NOBODY, NOBODY, NOBODY], generation=9)
    router = Slots(table, backend=backend)
    here = next(key for key in _KEYS if router.slot(key) == 0)
    missing = next(key for key in _KEYS if router.slot(key) == 1)
    assert router.route(here).id == "node-0"
    assert router.replicas(here) == _MEMBERS[:1]
    assert router.replicas(missing) == ()
    for ask in (router.route, lambda key: router.route_many([here, key])):
        with pytest.raises(NoMember, match="shard 1 of 2 has no primary at generation 9") as caught:
            ask(missing)
        assert caught.value.slot == 1


def test_numbers_need_not_follow_each_other(backend: Backend) -> None:
    members = (Member(id="a", number=3), Member(id="b", number=65_534))
    router = Slots(make_table(shards=2, replicas=1, members=members, owners=[65_534, 3]), backend=backend)
    assert {router.slot(key): router.route(key).id for key in _KEYS} == {0: "b", 1: "a"}


@pytest.mark.parametrize("shards", [1, 2, 65_536])
def test_smallest_and_largest_tables(shards: int, backend: Backend) -> None:
    table = even_table(_MEMBERS, shards, 1)
    router = Slots(table, backend=backend)
    assert all(router.route(key).number == table.owners[router.slot(key)] for key in _KEYS[:300])


# --------------------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "there is no member"),
        ([Member(id="a", weight=0)], "nobody has a weight above 0"),
        ([Member(id="a"), Member(id="a")], "two members have the id 'a'"),
        ([Member(id="")], "a member's id is empty"),
        ([Member(id="a", weight=-1)], "member 'a': weight -1 is not within"),
        ([Member(id="a", number=65_535)], "member 'a': number 65535 is not within"),
        ([Member(id="a" * 1_001)], "id has 1001 bytes"),
        ([Member(id="\ud800")], "id is not text"),
    ],
)
def test_members_that_cannot_be_used(members: list[Member], why: str) -> None:
    for algorithm in _BY_ID:
        with pytest.raises(Unusable, match=why):
            router_of_members(algorithm, members)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Jump([]), "numbered 0 to n-1"),
        (lambda: Jump([Member(id="a", number=1)]), "numbered 0 to n-1"),
        (lambda: Jump([Member(id="a", number=0), Member(id="b", number=0)]), "two members have the number 0"),
        (lambda: Jump([Member(id="a", weight=2), Member(id="b", number=1)]), "knows no weights"),
        (lambda: Maglev(_MEMBERS, rows=5), "not fewer than the 7 members"),
        (lambda: Maglev(_MEMBERS, rows=100), "has to be a prime"),
        (lambda: Maglev(_MEMBERS, rows=5_000_077), "at most 5000011"),
        (lambda: Ring(_MEMBERS, points=0), "points"),
        (lambda: Ring([Member(id="a", weight=1_000_000)]), "take fewer points"),
        (lambda: Ketama([Member(id=str(n), weight=1) for n in range(3)], replicas=0), "replicas is 0"),
        (lambda: Rendezvous(_MEMBERS, replicas=17), "replicas is 17"),
        (lambda: router_of_members(Algorithm.SLOTS, _MEMBERS), "needs a table"),
        (lambda: router_of_members(Algorithm.REDIS16384, _MEMBERS), "needs a table"),
    ],
)
def test_arguments_that_cannot_be_used(make: object, why: str) -> None:
    assert callable(make)
    with pytest.raises(Unusable, match=why):
        make()
