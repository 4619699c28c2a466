"""Roll-outs that fail, and what becomes of them."""

from __future__ import annotations

from tenant import Tenant, broken, passes, sleeper, web

QUICK = {"deadlineSeconds": 4}


def test_a_broken_version_is_taken_back_not_tried_again_and_a_corrected_one_heals(tenant: Tenant) -> None:
    tenant.run("web", web("1", rollout=QUICK))

    with tenant.watching("web") as least:
        tenant.apply("web", broken("2", rollout=QUICK))
        message = tenant.until_reason("web", "RolledBack", "Stalled")

    status = tenant.status("web")
    assert f"revision {status['revision']['failed']} failed: no progress for 4 s (spec.rollout.deadlineSeconds)" in message
    assert f"{status['revision']['lastGood']} runs again; change the spec to try another" in message
    assert "Command exited with status 1" in message
    assert tenant.condition("web", "Ready")["status"] == "False"
    assert status["revision"]["current"] == status["revision"]["lastGood"]
    assert min(least) == 2, "all instances served all the time"
    assert tenant.answers("web") == ["1", "1"]

    # the same broken revision is not tried again, whatever else of the resource changes
    tasks = set(tenant.tasks("web"))
    launched, made = tenant.engine.counter("tasks.launched"), passes(tenant.sandbox)
    tenant.apply("web", broken("2", rollout={"deadlineSeconds": 5}))
    tenant.until_reason("web", "RolledBack")
    tenant.kubectl("annotate", "paasapp", "web", "note=again")
    tenant.until(lambda: passes(tenant.sandbox) >= made + 2)
    assert tenant.engine.counter("tasks.launched") == launched
    assert set(tenant.tasks("web")) == tasks

    tenant.apply("web", web("3", rollout=QUICK))
    tenant.wait("web")
    assert tenant.condition("web", "Stalled") == {}
    assert tenant.answers("web") == ["3", "3"]
    assert {event["reason"] for event in tenant.events()} >= {"Creating", "Ready", "Updating", "RollingBack", "RolledBack"}


def test_going_back_by_hand_to_what_ran_before_the_failure_is_no_new_roll_out(tenant: Tenant) -> None:
    tenant.run("web", web("1", instances=1, rollout=QUICK))
    tenant.apply("web", broken("2", instances=1, rollout=QUICK))
    tenant.until_reason("web", "RolledBack")
    good = set(tenant.tasks("web"))

    tenant.apply("web", web("1", instances=1, rollout=QUICK))

    tenant.wait("web")
    assert set(tenant.tasks("web")) == good


def test_a_first_version_that_never_worked_has_nothing_to_go_back_to_and_says_so(tenant: Tenant) -> None:
    tenant.apply("web", broken("1", instances=1, rollout=QUICK))
    message = tenant.until_reason("web", "RolloutFailed", "Stalled")
    assert "no progress for 4 s" in message
    assert "change the spec to try again" in message

    tenant.apply("web", web("2", instances=1, rollout=QUICK))
    tenant.wait("web")
    assert tenant.answers("web") == ["2"]


def test_a_change_in_the_middle_of_a_roll_out_takes_its_place(tenant: Tenant) -> None:
    tenant.run("web", web("1", instances=1))
    tenant.apply("web", broken("2", instances=1))
    tenant.until(lambda: tenant.reason("web") == "RollingOut", about="web")

    tenant.apply("web", web("3", instances=1))

    tenant.wait("web")
    assert tenant.answers("web") == ["3"]


def test_an_app_waits_for_the_one_that_it_depends_on(tenant: Tenant) -> None:
    tenant.apply("front", sleeper(dependsOn=[{"name": "back"}]))
    assert "waiting until Ready: back (does not exist)" in tenant.until_reason("front", "DependencyNotReady")

    tenant.apply("back", web("1", instances=1))

    tenant.wait("front")
    assert tenant.answers("back") == ["1"]


def test_what_somebody_changes_in_marathon_is_put_right_and_told(tenant: Tenant) -> None:
    tenant.run("web", sleeper())

    tenant.engine.ask("PATCH", f"/v2/apps/{tenant.app_id('web')}", {"cmd": "exec sleep 4444"})

    tenant.until(lambda: (tenant.engine.app(tenant.app_id("web")) or {}).get("cmd") == "exec sleep 86400", about="web")
    tenant.wait("web")
    assert "CorrectingDrift" in {event["reason"] for event in tenant.events()}
    tenant.engine.ask("DELETE", f"/v2/apps/{tenant.app_id('web')}")
    tenant.until(lambda: len(tenant.tasks("web")) == 1, about="web")
