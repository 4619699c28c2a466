"""A PaasApp, link by link: resource, cluster, claim, app in Marathon, deployment, queue, tasks, health.

Each link is a small check named as a sentence; the way ends with the first that is broken, since what lies behind follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shuren.domain.app import rollout, status
from shuren.domain.app.decide import decide
from shuren.domain.app.plan import PutApp, ScaleApp
from shuren.domain.app.snapshot import PENDING, RevisionState, Snapshot
from shuren.domain.conditions import ConditionType
from shuren.domain.explain.links import Link, Verdict, broken, holds, unknown


def way(s: Snapshot) -> tuple[Link, ...]:
    """All links up to the first broken one; the rest follows from it."""
    links: list[Link] = []
    for check in CHECKS:
        link = check(s)
        if link is None:
            continue
        links.append(replace(link, advice=link.advice.replace("NAME", s.resource.key.name)))
        if link.verdict in {Verdict.BROKEN, Verdict.UNKNOWN}:
            break
    return tuple(links)


def _condition(s: Snapshot, kind: ConditionType) -> tuple[str, str, str]:
    """(status, reason, message) of what the operator last said."""
    items = s.resource.status.get("conditions")
    for item in items if isinstance(items, (list, tuple)) else ():
        if isinstance(item, dict) and item.get("type") == kind.value:
            return str(item.get("status")), str(item.get("reason")), str(item.get("message"))
    return "", "", ""


def the_operator_looks_at_it(s: Snapshot) -> Link:
    """A status that is behind the spec means that nobody reconciles."""
    name = "operator"
    seen = s.resource.status.get("observedGeneration")
    if seen == s.resource.generation:
        return holds(name, f"has looked at generation {s.resource.generation}")
    said = "it has never said anything" if seen is None else f"it has looked at generation {seen}, the spec is at {s.resource.generation}"
    return broken(
        name,
        said,
        "is the operator running, and does it watch this namespace? kubectl get deploy -A -l app.kubernetes.io/name=shuren; "
        "kubectl get lease -A | grep shuren-operator",
    )


def the_spec_can_be_followed(s: Snapshot) -> Link:
    """What only the user can mend."""
    name = "resource"
    if s.resource.deleting:
        reason, message = _condition(s, ConditionType.READY)[1:]
        return broken(name, f"it is being deleted ({reason}: {message})", "wait, or see what holds it up in that message")
    if s.problem is not None:
        return broken(name, f"{s.problem.reason}: {s.problem.message}", "change the spec")
    if s.management.suspend:
        return broken(name, "spec.management.suspend is true: nothing is changed outside", "kubectl shuren resume NAME")
    return holds(name, f"generation {s.resource.generation}")


def the_cluster_answers(s: Snapshot) -> Link:
    """MesosCluster, Marathon, ZooKeeper."""
    name = f"cluster {s.cluster.name}"
    cluster = s.cluster
    if not cluster.exists:
        return broken(name, "there is no MesosCluster of that name", "create it, or correct spec.clusterRef.name")
    if cluster.problem is not None:
        return unknown(name, cluster.problem.message, f"kubectl get mcl {cluster.name} -o yaml")
    if cluster.unreachable_for is not None:
        return unknown(name, cluster.silence, "check that this machine reaches it (shuren doctor), and what the MesosCluster's status says")
    leader = cluster.info.leader or "unknown"
    return holds(name, f"Marathon {cluster.info.version or '(version unknown)'} answers, leader {leader}")


def what_it_refers_to_is_there(s: Snapshot) -> Link | None:
    """Secrets and ConfigMaps."""
    if s.waiting is None:
        return None
    if s.waiting.reason in {"ReferencesDenied", PENDING}:
        return unknown("references", s.waiting.message)
    return broken("references", s.waiting.message, "create it, or correct the reference")


def what_it_depends_on_is_ready(s: Snapshot) -> Link | None:
    """`dependsOn` holds up creation and changes."""
    unready = [d for d in s.dependencies if not d.ready]
    if not s.dependencies:
        return None
    if not unready:
        return holds("dependencies", ", ".join(d.name for d in s.dependencies) + " are Ready")
    names = ", ".join(f"{d.name}{'' if d.exists else ' (does not exist)'}" for d in unready)
    return broken("dependencies", f"not Ready: {names}", f"kubectl shuren why {unready[0].name}")


def the_id_is_ours(s: Snapshot) -> Link:
    """The claim in ZooKeeper."""
    wanted = s.desired.app_id if s.desired is not None else "its id"
    if s.claim is None:
        if s.app is not None:
            reason, message = _condition(s, ConditionType.READY)[1:]
            return broken(
                "claim",
                f"{wanted} runs in Marathon and nobody has claimed it ({reason}: {message})",
                "set spec.management.adoption to AdoptIfIdentical or Adopt, or choose another spec.id",
            )
        return broken("claim", f"nobody has claimed {wanted} yet", "the operator claims it with its next pass; what holds it up is above")
    if not s.owned:
        holder = f"PaasApp {s.claim.namespace}/{s.claim.name}"
        gone = ", which is gone: the next pass takes it over" if s.holder_gone else ""
        return broken("claim", f"{s.claim.app_id} belongs to {holder}{gone}", "choose another spec.id, or delete that resource")
    return holds("claim", f"{s.claim.app_id} is ours since epoch {s.claim.epoch}")


def marathon_has_what_is_asked_for(s: Snapshot) -> Link:
    """The definition, and whether the revision has failed before."""
    name = "Marathon app"
    if s.app is None:
        reason, message = _condition(s, ConditionType.READY)[1:]
        return broken(
            name, f"Marathon has no such app ({reason}: {message})", "see that message; the operator creates it with its next pass"
        )
    record = next((r for r in s.revisions if s.desired is not None and r.hash == s.desired.revision), None)
    if record is not None and record.state in {RevisionState.FAILED, RevisionState.WITHDRAWN}:
        return broken(
            name,
            record.why_not,
            "change the spec (kubectl shuren history NAME shows what ran before); the same revision is not tried again",
        )
    plan = decide(s)
    locked = next((c for c in plan.conditions or () if c.type is ConditionType.READY and c.reason == "Locked"), None)
    if locked is not None:
        return broken("deployment", locked.message, "wait for it, or cancel it in Marathon")
    ahead = [a for a in plan.actions if isinstance(a, (PutApp, ScaleApp))]
    if ahead:
        return broken(name, f"it is not as the spec asks: {ahead[0]}", "kubectl shuren diff NAME shows the fields; wait for the next pass")
    return holds(name, f"{s.app.id} as asked for, version {s.app.version}")


def no_deployment_hangs(s: Snapshot) -> Link | None:
    """A deployment that runs, and whose."""
    if s.deployment is None:
        return None
    d = s.deployment
    doing = ", ".join(sorted({a.action for a in d.current_actions})) or "nothing"
    step = f"deployment {d.id} is at step {d.current_step} of {d.total_steps} ({doing})"
    others = sorted(set(d.affected_apps) - {s.app.id if s.app is not None else ""})
    if others:
        return broken("deployment", f"{step} and holds {', '.join(others[:3])} as well", "wait, or cancel it in Marathon")
    return holds("deployment", step)


def instances_find_a_place(s: Snapshot) -> Link | None:
    """Marathon's launch queue."""
    if s.queue is None or s.queue.count == 0:
        return None
    reason, message = status.waiting_reason(s.queue)
    most = ", ".join(f"{name} {count}" for name, count in sorted(s.queue.rejections.items(), key=lambda pair: -pair[1])[:3] if count)
    return broken("launch queue", f"{s.queue.count} instances wait: {message}{f' ({most})' if most else ''}", _PLACES.get(reason, ""))


_PLACES = {
    "Backoff": "see the task's last words: kubectl shuren logs NAME",
    "UnfulfilledRole": "compare spec.role and spec.acceptedResourceRoles with the roles that agents offer",
    "UnfulfilledConstraint": "loosen spec.constraints, or add agents that meet them",
    "InsufficientCpus": "ask for fewer cpus, or add agents",
    "InsufficientMemory": "ask for less mem, or add agents",
    "InsufficientDisk": "ask for less disk, or add agents",
    "InsufficientGpus": "ask for fewer gpus, or add agents with some",
    "InsufficientPorts": "leave the host port to Mesos (port 0), or free it",
    "AgentMaintenance": "end the maintenance, or add agents",
    "WaitingForOffers": "wait; if it lasts, look at Mesos' agents and quota",
}


def tasks_run(s: Snapshot) -> Link:
    """Tasks, and how the last one ended."""
    app = s.app
    if app is None:  # told before
        return broken("tasks", "there is no app", "")
    wanted = s.wanted_instances
    if wanted == 0:
        return broken("tasks", "no instances are asked for", "set spec.instances")
    now = rollout.standing(app, desired=wanted)
    failure = status.present_failure(app)
    words = ""
    if failure is not None:
        message = s.veil.over(failure.message)[:300]
        words = f"; the last one ended on {failure.host or 'an unknown agent'} with {failure.state}: {message}"
    if now.running < wanted:
        return broken("tasks", f"{now.running} of {wanted} run{words}", "kubectl shuren logs NAME shows what they said")
    if now.outdated:
        return broken("tasks", f"{now.outdated} of {now.running} run an older configuration", "wait for the deployment")
    return holds("tasks", f"{now.running} of {wanted} run")


def tasks_are_healthy(s: Snapshot) -> Link | None:
    """Marathon's own checks."""
    if s.app is None or not s.app.definition.get("healthChecks"):
        return None
    now = rollout.standing(s.app, desired=s.wanted_instances)
    if now.unhealthy:
        bad = [t for t in s.app.tasks if t.health.value == "unhealthy"]
        where = ", ".join(f"{t.id} on {t.host}" for t in bad[:3])
        return broken(
            "health", f"{now.unhealthy} of {now.running} fail their check: {where}", "kubectl shuren logs TASK; ask the path yourself"
        )
    if now.healthy < now.running:
        return broken("health", f"{now.running - now.healthy} of {now.running} have not passed a check yet", "wait for gracePeriodSeconds")
    return holds("health", f"{now.healthy} of {now.running} pass their checks")


CHECKS: tuple[Callable[[Snapshot], Link | None], ...] = (
    the_spec_can_be_followed,
    the_operator_looks_at_it,
    the_cluster_answers,
    what_it_refers_to_is_there,
    what_it_depends_on_is_ready,
    the_id_is_ours,
    marathon_has_what_is_asked_for,
    no_deployment_hangs,
    instances_find_a_place,
    tasks_run,
    tasks_are_healthy,
)
