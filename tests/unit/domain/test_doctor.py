"""What a look at every part found, judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shuren.domain import doctor
from shuren.domain.doctor import Health, Right

NOW = datetime(2026, 11, 26, 6, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("off", "health"), [(0, Health.WELL), (5, Health.WELL), (-5, Health.WELL), (30, Health.ILL), (-3600, Health.ILL)])
def test_clocks_that_are_apart_are_ill(off: int, health: Health) -> None:
    found = doctor.clock("x", theirs=NOW + timedelta(seconds=off), ours=NOW, took=0.1)
    assert found.health is health
    assert ("ahead" in found.found) == (off > 5)


def test_a_slow_answer_is_no_skew() -> None:
    assert doctor.clock("x", theirs=NOW - timedelta(seconds=9), ours=NOW, took=8.0).health is Health.WELL
    assert doctor.clock("x", theirs=None, ours=NOW, took=0.1).health is Health.ADVICE


@pytest.mark.parametrize(
    ("product", "version", "health"),
    [
        ("Marathon", "1.11.24", Health.WELL),
        ("Marathon", "1.4.0", Health.ILL),
        ("Kubernetes", "v1.34.4", Health.WELL),
        ("Kubernetes", "v1.22.0-eks", Health.ILL),
        ("Mesos", "", Health.ADVICE),
    ],
)
def test_releases(product: str, version: str, health: Health) -> None:
    assert doctor.release("x", product, version).health is health


@pytest.mark.parametrize(
    ("ours", "theirs", "health"),
    [("0.1.0", "0.1.0", Health.WELL), ("0.2.0", "0.1.9", Health.ILL), ("0.1.0", "0.10.0", Health.ADVICE), ("0.1.0", "", Health.ILL)],
)
def test_an_old_operator_is_told(ours: str, theirs: str, health: Health) -> None:
    found = doctor.operator_release(ours=ours, theirs=theirs)
    assert found.health is health
    assert bool(found.mend) == (health is not Health.WELL)


def test_a_lease_that_ran_out_is_ill() -> None:
    fresh = doctor.lease(holder="a", renewed="2026-11-26T05:59:55.000000Z", seconds=15, now=NOW)
    assert fresh.health is Health.WELL
    assert doctor.lease(holder="a", renewed="2026-11-26T05:00:00.000000Z", seconds=15, now=NOW).health is Health.ILL
    assert doctor.lease(holder="", renewed="", seconds=0, now=NOW).health is Health.ILL


def test_an_old_definition_and_missing_rights_name_what_is_missing() -> None:
    assert "spec.gates, status.rollout" in doctor.definition("a", missing=["spec.gates", "status.rollout"], established=True).found
    assert doctor.definition("a", missing=[], established=False).health is Health.ILL
    found = doctor.rights([Right(verb="list", resource="paasapps", for_what="plan")], asked=9)
    assert (found.health, "list paasapps (plan)" in found.found, "shuren-viewer" in found.mend) == (Health.ADVICE, True, True)
    assert "shuren-editor" in doctor.rights([Right(verb="patch", resource="paasapps", for_what="x")], asked=9).mend
    assert doctor.worst([found, doctor.well("a", "b")]) is Health.ADVICE


def test_room_and_size() -> None:
    assert doctor.room("x", used=0, total=0, what="cpus").health is Health.ADVICE
    assert doctor.room("x", used=95, total=100, what="cpus").found == "95% of 100 cpus in use"
    assert doctor.room("x", used=95, total=100, what="cpus").health is Health.ADVICE
    assert doctor.room("x", used=1, total=100, what="cpus").health is Health.WELL
    assert doctor.size("x", apps=9000, limit=20).health is Health.ADVICE
    assert doctor.size("x", apps=10, limit=20).found == "10 apps, 20 deployments at once"
    assert doctor.definition("a", missing=[], established=True).health is Health.WELL
    assert doctor.rights([], asked=9).found == "all 9 that these commands need"
