"""Whole stories of a PaasApp, told as steps: each is something that a user or the world does, after which everything settles.

The crash tests run each story once as it is and once for every external write that the operator makes in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from paasapp_world import World
from shuren.clients.fakes.marathon_tasks import Behaviour

Step = Callable[[World], None]


@dataclass(frozen=True, kw_only=True)
class Story:
    """`expect` is asked of the end state of the uninterrupted run, so that two equally wrong runs do not pass."""

    name: str
    steps: tuple[Step, ...]
    expect: Callable[[World], bool]
    sites: tuple[str, ...] = ("bj1",)


def broken(definition: Any) -> Behaviour:
    """Apps whose command says so are broken."""
    words = str(definition.get("cmd", ""))
    return next((b for b in Behaviour if b.value in words.split()), Behaviour.RUNS)


def prepare(world: World) -> None:
    """What all stories start from: commands that name a behaviour have it."""
    for site in world.sites.values():
        site.marathon.behave = broken


async def tell(story: Story, world: World, *, settle: Callable[[World], Awaitable[None]]) -> None:
    """Run a story."""
    prepare(world)
    for step in story.steps:
        step(world)
        await settle(world)


FOREIGN: dict[str, Any] = {"id": "/shop/web", "cmd": "sleep 1000", "instances": 1}


def _foreign(**fields: Any) -> Step:
    def act(world: World) -> None:
        world.marathon.foreign_put({**FOREIGN, **fields})
        world.marathon.settle()

    return act


def _apply(**spec: Any) -> Step:
    return lambda world: world.apply(**spec)


def _running(world: World, app_id: str = "/shop/web", cmd: str = "sleep 1000", instances: int = 1) -> bool:
    app = world.marathon.actual(app_id)
    return app is not None and app.definition["cmd"] == cmd and app.counts.running == instances == app.instances


STORIES = (
    Story(name="create", steps=(_apply(instances=2),), expect=lambda w: w.ready() and _running(w, instances=2)),
    Story(
        name="update",
        steps=(_apply(instances=2), _apply(instances=2, cmd="sleep 7")),
        expect=lambda w: w.ready() and _running(w, cmd="sleep 7", instances=2) and len(w.revisions()) == 2,
    ),
    Story(
        name="scale up and down",
        steps=(_apply(instances=1), _apply(instances=4), _apply(instances=2)),
        expect=lambda w: w.ready() and _running(w, instances=2) and len(w.revisions()) == 1,
    ),
    Story(
        name="change and shrink at once",
        steps=(_apply(instances=3), _apply(instances=1, cmd="sleep 7")),
        expect=lambda w: w.ready() and _running(w, cmd="sleep 7", instances=1),
    ),
    Story(
        name="adopt what is identical",
        steps=(_foreign(), _apply(management={"adoption": "AdoptIfIdentical"})),
        expect=lambda w: w.ready() and [c.name for c in w.marathon.calls] == [] and w.claims() == {"/shop/web": "shop/web"},
    ),
    Story(
        name="adopt and change",
        steps=(_foreign(cmd="sleep 1"), _apply(management={"adoption": "Adopt"})),
        expect=lambda w: w.ready() and _running(w),
    ),
    Story(
        name="roll back",
        steps=(_apply(instances=2), _apply(instances=2, cmd="fails 1", rollout={"deadlineSeconds": 30})),
        expect=lambda w: _running(w, instances=2) and w.conditions()["Stalled"] == ("True", "RolledBack"),
    ),
    Story(
        name="roll back and correct",
        steps=(_apply(instances=2), _apply(instances=2, cmd="unplaced 1"), _apply(instances=2, cmd="sleep 9")),
        expect=lambda w: w.ready() and _running(w, cmd="sleep 9", instances=2),
    ),
    Story(
        name="fail and pause",
        steps=(
            _apply(instances=1, rollout={"onFailure": "Pause"}),
            _apply(instances=1, cmd="stuck 1", rollout={"onFailure": "Pause", "deadlineSeconds": 30}),
        ),
        expect=lambda w: w.conditions()["Stalled"] == ("True", "RolloutFailed") and not w.marathon.plans,
    ),
    Story(
        name="delete",
        steps=(_apply(instances=2), lambda world: world.delete()),
        expect=lambda w: w.resource() is None and not w.claims() and not w.marathon.definitions,
    ),
    Story(
        name="delete and leave running",
        steps=(_apply(instances=2, management={"deletion": "Orphan"}), lambda world: world.delete()),
        expect=lambda w: w.resource() is None and not w.claims() and _running(w, instances=2),
    ),
    Story(
        name="change the id",
        steps=(_apply(instances=1), _apply(instances=1, id="/shop/site")),
        expect=lambda w: (
            w.ready() and _running(w, "/shop/site") and w.claims() == {"/shop/site": "shop/web"} and len(w.marathon.definitions) == 1
        ),
    ),
    Story(
        name="correct drift",
        steps=(_apply(instances=1), _foreign(cmd="sleep 3"), lambda world: world.marathon.foreign_delete("/shop/web")),
        expect=lambda w: w.ready() and _running(w),
    ),
    Story(
        name="a Secret comes, and changes",
        steps=(
            _apply(envRefs=[{"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}}]),
            lambda world: world.secret("db", password="one"),
            lambda world: world.secret("db", password="two"),
        ),
        expect=lambda w: w.ready() and w.marathon.definitions["/shop/web"]["env"]["PASSWORD"] == "two" and len(w.revisions()) == 2,
    ),
    Story(
        name="move to another cluster",
        steps=(_apply(instances=1), _apply(instances=1, cluster="bj2")),
        expect=lambda w: w.ready() and not w.marathon.definitions and "/shop/web" in w.sites["bj2"].marathon.definitions and not w.claims(),
        sites=("bj1", "bj2"),
    ),
)
