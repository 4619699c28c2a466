"""From the resource's JSON to the values that decisions know: the rim where api models end and the domain begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from shuren.api.problems import problems
from shuren.api.v1alpha1 import paasapp as api
from shuren.api.v1alpha1.marathon.app import App
from shuren.api.v1alpha1.references import KeyRef
from shuren.controllers.identity import app_id_of, cluster_of
from shuren.domain.app.render import File, Recipe, Source, SourceKind, Variable
from shuren.domain.app.snapshot import (
    Adoption,
    Deletion,
    DriftPolicy,
    Management,
    OnFailure,
    Policy,
    Problem,
    Resource,
    RolloutPolicy,
    Step,
    Strategy,
)
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import CONFIG_MAPS, SECRETS, Object

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A resource as far as it could be read. `recipe` is None, and `problem` says why, when the schema refuses it.

    `app_id` is the id that the spec names; `on` gives the same for the id that it lives on.
    """

    resource: Resource
    app_id: str
    cluster: str
    management: Management
    rollout: RolloutPolicy
    depends_on: tuple[str, ...] = ()
    recipe: Recipe | None = None
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()

    def on(self, app_id: str) -> Reading:
        """The same for another of the ids of the resource."""
        if app_id == self.app_id:
            return self
        recipe = replace(self.recipe, app_id=app_id) if self.recipe is not None else None
        return replace(self, app_id=app_id, recipe=recipe)


def read(key: ObjectKey, item: Object) -> Reading:
    """Read a PaasApp. Never raises: what is wrong becomes a problem, and what can still be told (id, cluster, policies) is."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    resource = Resource(
        key=key,
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        instances=_instances(spec),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations=dict(metadata.get("annotations") or {}),
        status=item.get("status") or {},
    )
    app_id, cluster = app_id_of(key.namespace, key.name, spec), cluster_of(spec)
    try:
        model = api.read({name: value for name, value in item.items() if name != "status"})
    except ValidationError as error:
        return Reading(
            resource=resource,
            app_id=app_id,
            cluster=cluster,
            management=_lenient_management(spec.get("management")),
            rollout=RolloutPolicy(),
            problem=invalid_spec(error),
        )
    ignored = api.pasted_read_only(spec)
    return Reading(
        resource=resource,
        app_id=app_id,
        cluster=cluster,
        management=_management(model.management) if spec.get("management") else _DEFAULT_MANAGEMENT,
        rollout=_rollout(model.rollout) if spec.get("rollout") else _DEFAULT_ROLLOUT,
        depends_on=depends_on(spec),
        recipe=recipe(model.spec, spec, app_id),
        warnings=(f"ignored, since Marathon alone writes them: {', '.join(ignored)}",) if ignored else (),
    )


def _instances(spec: Mapping[str, Any]) -> int:
    number = spec.get("instances")
    return number if isinstance(number, int) and number >= 0 else 1


def invalid_spec(error: ValidationError, *, prefix: str = "") -> Problem:
    """The first few things that are wrong, as one message."""
    found = [f"{prefix}{problem}" for problem in problems(error)]
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return Problem(reason="InvalidSpec", message="; ".join(found[:_SHOWN]) + more)


def recipe(model: api.PaasAppSpec, spec: Mapping[str, Any], app_id: str) -> Recipe:
    """What makes the Marathon definition of a spec."""
    return Recipe(
        app_id=app_id,
        definition=api.marathon_definition(spec),
        variables=tuple(Variable(name=r.name, source=_source(r.secret_key_ref, r.config_map_key_ref)) for r in model.env_refs or ()),
        files=tuple(File(path=r.path, mode=r.mode, source=_source(r.secret_key_ref, r.config_map_key_ref)) for r in model.files_from or ()),
        patches=tuple(spec.get("patches") or ()),
    )


def recorded_recipe(spec: Mapping[str, Any], app_id: str) -> Recipe | None:
    """The same for a spec out of an old revision; None when this release cannot read it."""
    try:
        return recipe(api.PaasAppSpec.model_validate(dict(spec)), spec, app_id)
    except ValidationError:
        return None


def judge_patched(definition: Mapping[str, Any]) -> Problem | None:
    """Judge a definition after its patches as a spec is judged; what the models do not know passes."""
    try:
        App.model_validate({key: value for key, value in definition.items() if value is not None})
    except ValidationError as error:
        return invalid_spec(error, prefix="after spec.patches: ")
    return None


def _source(secret: KeyRef | None, config_map: KeyRef | None) -> Source:
    reference = secret or config_map
    if reference is None:  # the models demand exactly one of the two
        raise AssertionError
    kind = SourceKind.SECRET if secret is not None else SourceKind.CONFIG_MAP
    return Source(kind=kind, name=reference.name, key=reference.key, optional=reference.optional)


def key_of(source: Source, namespace: str) -> ObjectKey:
    """The object that a source is a key of."""
    kind = SECRETS.kind if source.kind is SourceKind.SECRET else CONFIG_MAPS.kind
    return ObjectKey(kind=kind, namespace=namespace, name=source.name)


def value_of(source: Source, item: Object | None) -> bytes | None:
    """The value under the source's key; None when the object or the key is missing, or the data is broken."""
    if item is None:
        return None
    plain = (item.get("data") or {}).get(source.key)
    if source.kind is SourceKind.CONFIG_MAP and plain is not None:
        return str(plain).encode()
    coded = plain if source.kind is SourceKind.SECRET else (item.get("binaryData") or {}).get(source.key)
    if coded is None:
        return None
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None


# ---------------------------------------------------------------------------------------------------- what is told even of a broken spec


def depends_on(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in `dependsOn`."""
    items = spec.get("dependsOn")
    if not items:
        return ()
    names = [item.get("name") for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return tuple(name for name in names if isinstance(name, str))


def _management(model: api.Management) -> Management:
    return Management(
        policy=Policy(model.policy.value),
        adoption=Adoption(model.adoption.value),
        deletion=Deletion(model.deletion.value),
        drift=DriftPolicy(model.drift.value),
        ignore_paths=tuple(model.ignore_paths or ()),
        suspend=model.suspend,
    )


def _lenient_management(given: object) -> Management:
    """Policies of a spec that is broken elsewhere: deletion must still do what they say. If these are broken too, nothing is deleted."""
    if given is None:
        return Management()
    try:
        return _management(api.Management.model_validate(given))
    except ValidationError:
        return Management(deletion=Deletion.ORPHAN)


def _rollout(model: api.Rollout) -> RolloutPolicy:
    return RolloutPolicy(
        deadline=float(model.deadline_seconds),
        drain=float(model.drain_seconds),
        on_failure=OnFailure(model.on_failure.value),
        max_unhealthy=None if model.max_unhealthy_seconds is None else float(model.max_unhealthy_seconds),
        strategy=Strategy(model.strategy.value),
        steps=tuple(_step(step) for step in model.steps or ()),
        paused=model.paused,
    )


def _step(model: api.RolloutStep) -> Step:
    return Step(
        weight=model.weight,
        scale=model.scale,
        pause=model.pause,
        duration=float(model.duration_seconds),
        max_error_rate=model.max_error_rate,
        max_latency=model.max_latency_millis,
        min_requests=Step.min_requests if model.min_requests is None else model.min_requests,
    )


_DEFAULT_MANAGEMENT = _management(api.Management())
_DEFAULT_ROLLOUT = _rollout(api.Rollout())
"""What most specs say by saying nothing."""
