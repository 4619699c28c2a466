from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.devenv.errors import DevenvError
from shuren.devenv.ports import PORTS, Reservations


def luck(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose


def test_two_holders_never_get_the_same_even_with_the_same_luck(tmp_path: Path) -> None:
    with Reservations(tmp_path, rng=luck()) as first, Reservations(tmp_path, rng=luck()) as second:
        ours, theirs = [first.port() for _ in range(20)], [second.port() for _ in range(20)]
        assert len({*ours, *theirs}) == 40
        assert first.network() != second.network()


def test_what_is_released_can_be_had_again(tmp_path: Path) -> None:
    with Reservations(tmp_path, rng=luck()) as first:
        port, network = first.port(), first.network()
    with Reservations(tmp_path, rng=luck()) as second:
        assert (second.port(), second.network()) == (port, network)


def test_a_port_somebody_listens_on_is_passed_over(tmp_path: Path) -> None:
    with Reservations(tmp_path, rng=luck()) as first:
        port = first.port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with Reservations(tmp_path, rng=luck()) as second:
            assert second.port() != port


@given(seed=st.integers())
def test_ports_are_below_the_ephemeral_range_and_the_agents(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    assert PORTS[-1] < 31_000
    with Reservations(tmp_path_factory.getbasetemp() / "locks", rng=luck(seed)) as held:
        assert held.port() in PORTS
        first, second, third = map(int, held.network().split("."))
        assert first == 127
        assert 16 <= second <= 250
        assert 0 <= third <= 255


def test_no_free_port_is_said_not_looped_over(tmp_path: Path) -> None:
    few = range(PORTS[0], PORTS[0] + 3)
    with Reservations(tmp_path, ports=few) as first, Reservations(tmp_path, ports=few) as second:
        for port in few:
            first._lock(f"port-{port}")  # as another sandbox would
        with pytest.raises(DevenvError, match=f"no free port between {few[0]} and {few[-1]}"):
            second.port()
