"""Whole stories of gated roll-outs, told like `paasapp_scenarios`; each is also crashed at every external write that the operator makes."""

from __future__ import annotations

from typing import Any

from paasapp_scenarios import Step, Story
from paasapp_world import World

WEB, ALT = "/shop/web", "/shop/web-alt"
CANARY: list[dict[str, Any]] = [{"weight": 10, "durationSeconds": 5}, {"weight": 50}, {"weight": 100}]


class Balanced(World):
    """Every app is behind a load balancer."""

    balanced = True


def apply(cmd: str = "sleep 1000", *, instances: int = 2, steps: Any = CANARY, **rollout: Any) -> Step:
    """Somebody applies the spec."""
    given = {"strategy": "Gated", "deadlineSeconds": 60, **({"steps": steps} if steps is not None else {}), **rollout}
    return lambda world: world.apply(cmd=cmd, instances=instances, rollout=given)


def command(word: str, value: str = "1") -> Step:
    """Somebody annotates."""
    return lambda world: world.annotate(**{f"paas.shurenyun.com/rollout-{word}": value})


def lives(world: World, app_id: str, cmd: str, instances: int = 2) -> bool:
    """Whether exactly this app is there, and it alone is claimed."""
    app = world.marathon.actual(app_id)
    alone = set(world.marathon.definitions) == {app_id} and world.claims() == {app_id: "shop/web"}
    return alone and app is not None and app.definition["cmd"] == cmd and app.counts.running == instances == app.instances


def phase(world: World) -> str:
    """`status.rollout.phase`."""
    return str(world.status().get("rollout", {}).get("phase"))


STORIES = (
    Story(
        name="canary",
        steps=(apply(), apply("sleep 7")),
        expect=lambda w: w.ready() and lives(w, ALT, "sleep 7") and phase(w) == "Completed" and w.status()["marathon"]["id"] == ALT,
    ),
    Story(
        name="blue-green",
        steps=(apply(steps=None), apply("sleep 7", steps=None)),
        expect=lambda w: w.ready() and lives(w, ALT, "sleep 7") and len(w.revisions()) == 2,
    ),
    Story(
        name="paused by a step, promoted",
        steps=(apply(), apply("sleep 7", steps=[{"weight": 50, "pause": True}]), command("promote")),
        expect=lambda w: w.ready() and lives(w, ALT, "sleep 7"),
    ),
    Story(
        name="aborted by annotation",
        steps=(apply(), apply("sleep 7", steps=[{"weight": 50, "pause": True}]), command("abort")),
        expect=lambda w: lives(w, WEB, "sleep 1000") and w.conditions()["Stalled"] == ("True", "RolledBack") and phase(w) == "Aborted",
    ),
    Story(
        name="aborted by its limit",
        steps=(
            apply(),
            apply("bad 1", steps=[{"weight": 50, "durationSeconds": 60, "maxErrorRate": 0.1}]),
        ),
        expect=lambda w: lives(w, WEB, "sleep 1000") and w.conditions()["Stalled"] == ("True", "RolledBack") and phase(w) == "Aborted",
    ),
    Story(
        name="never healthy",
        steps=(apply(), apply("unplaced 1")),
        expect=lambda w: lives(w, WEB, "sleep 1000") and w.conditions()["Stalled"] == ("True", "RolledBack"),
    ),
    Story(
        name="another spec in the middle",
        steps=(apply(), apply("sleep 7", steps=[{"weight": 50, "pause": True}]), apply("sleep 8")),
        expect=lambda w: w.ready() and lives(w, ALT, "sleep 8"),
    ),
    Story(
        name="the old spec again in the middle",
        steps=(apply(), apply("sleep 7", steps=[{"weight": 50, "pause": True}]), apply()),
        expect=lambda w: w.ready() and lives(w, WEB, "sleep 1000"),
    ),
    Story(
        name="scaled in the middle",
        steps=(
            apply(),
            apply("sleep 7", steps=[{"weight": 50, "pause": True}]),
            apply("sleep 7", steps=[{"weight": 50, "pause": True}], instances=4),
            apply("sleep 7", steps=[{"weight": 50, "pause": True}], instances=3),
            command("promote"),
        ),
        expect=lambda w: w.ready() and lives(w, ALT, "sleep 7", 3),
    ),
    Story(
        name="deleted in the middle",
        steps=(apply(), apply("sleep 7", steps=[{"weight": 50, "pause": True}]), lambda world: world.delete()),
        expect=lambda w: w.resource() is None and not w.claims() and not w.marathon.definitions,
    ),
    Story(
        name="another strategy in the middle",
        steps=(
            apply(),
            apply("sleep 7", steps=[{"weight": 50, "pause": True}]),
            lambda world: world.apply(cmd="sleep 7", instances=2),
        ),
        expect=lambda w: w.ready() and lives(w, WEB, "sleep 7"),
    ),
)
