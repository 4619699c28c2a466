"""The kind PaasApp: one Marathon app, declared."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shuren.api.nodes import Anything, Matches, Node, Reason, Rule, kubernetes, without_nulls
from shuren.api.v1alpha1.marathon.app import MARATHON_FIELDS, READ_ONLY_FIELDS, App, ReadOnlyParts, aliases
from shuren.api.v1alpha1.marathon.rules import RESERVED
from shuren.api.v1alpha1.metadata import ObjectMeta, lenient_status
from shuren.api.v1alpha1.paasapp_status import PaasAppStatus
from shuren.api.v1alpha1.references import KeyRef, NameRef
from shuren.api.v1alpha1.rollout import OnFailure, Rollout, RolloutStep, RolloutStrategy

MAX_REFS = 128


class Policy(StrEnum):
    """What the operator may do to the app in Marathon."""

    FULL = "Full"
    OBSERVE_ONLY = "ObserveOnly"
    NO_DELETE = "NoDelete"


class Adoption(StrEnum):
    """What to do with an app that is in Marathon already and that nobody has claimed."""

    REFUSE = "Refuse"
    ADOPT_IF_IDENTICAL = "AdoptIfIdentical"
    ADOPT = "Adopt"


class Deletion(StrEnum):
    """What happens in Marathon when the resource is deleted."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


class DriftPolicy(StrEnum):
    """What to do about changes that somebody else made in Marathon."""

    CORRECT = "Correct"
    WARN = "Warn"
    IGNORE = "Ignore"


class PatchOp(StrEnum):
    """Operation of a JSON patch."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"
    MOVE = "move"
    COPY = "copy"
    TEST = "test"


ENV_NAME = Matches("[A-Za-z_][A-Za-z0-9_]*", 'the name of a variable has letters, digits and "_", and begins with no digit')
FILE_PATH = Matches(
    "[A-Za-z0-9_][-._A-Za-z0-9]*(/[A-Za-z0-9_][-._A-Za-z0-9]*)*",
    'path is relative to the sandbox, such as conf/app.yaml: letters, digits, "-", "_", "."; no part begins with "." or "-"',
)
POINTER = Matches("(/([^~/]|~[01])*)+", "a JSON pointer begins with /, such as /labels/team (~1 stands for / and ~0 for ~ inside a key)")

_ONE_SOURCE = Rule(
    cel="has(self.secretKeyRef) != has(self.configMapKeyRef)",
    holds=lambda r: (r.secret_key_ref is None) != (r.config_map_key_ref is None),
    message="give exactly one of secretKeyRef and configMapKeyRef",
)


class EnvRef(Node):
    """An environment variable whose value is read from a Secret or ConfigMap of the namespace; a changed value rolls the app."""

    rules = (_ONE_SOURCE,)

    name: Annotated[str, Field(min_length=1, max_length=253), ENV_NAME]
    """Name of the variable."""
    secret_key_ref: KeyRef | None = None
    """Key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """Key of a ConfigMap."""


class FileRef(Node):
    """A file in the task's working directory whose content is read from a Secret or ConfigMap of the namespace.

    It travels as a variable in the app's environment (base64) and is written by the shell right before cmd starts; so it needs cmd, and sh
    and base64 in the image. A changed value rolls the app.
    """

    rules = (_ONE_SOURCE,)

    path: Annotated[str, Field(min_length=1, max_length=253), FILE_PATH]
    """Path relative to the working directory (the Mesos sandbox); no part may begin with a dot or a dash."""
    mode: Annotated[str, Field(max_length=4), Matches("0?[0-7]{3}", 'mode is octal in quotes, such as "0400"')] = "0400"
    """Permissions in octal, quoted."""
    secret_key_ref: KeyRef | None = None
    """Key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """Key of a ConfigMap."""


class Management(Node):
    """What the operator may do, and what it does about others."""

    policy: Annotated[Policy, Field(strict=False)] = Policy.FULL
    """Full; ObserveOnly: nothing is written to Marathon, status only; NoDelete: the app is never deleted from Marathon."""
    adoption: Annotated[Adoption, Field(strict=False)] = Adoption.REFUSE
    """For an app of this id that is in Marathon already and unclaimed. Refuse; AdoptIfIdentical: adopt when nothing would change; Adopt:
    adopt and change it to this spec, which restarts its tasks."""
    deletion: Annotated[Deletion, Field(strict=False)] = Deletion.DELETE
    """When the resource is deleted: Delete the app in Marathon, or Orphan it (leave it running, give up the claim)."""
    drift: Annotated[DriftPolicy, Field(strict=False)] = DriftPolicy.CORRECT
    """For changes made in Marathon by somebody else: Correct them, Warn (condition InSync), or Ignore."""
    ignore_paths: Annotated[list[Annotated[str, Field(min_length=1, max_length=512), POINTER]], Field(max_length=64)] | None = None
    """JSON pointers into the Marathon app (e.g. /instances, /env/FEATURE) whose values belong to somebody else: never compared, kept as
    found."""
    suspend: bool = False
    """Whether to change nothing outside until it is false again."""


class Patch(Node):
    """One operation of RFC 6902 on the rendered Marathon app."""

    rules = (
        Rule(
            cel="(self.op in ['move', 'copy']) == has(self.from)",
            holds=lambda p: (p.op in (PatchOp.MOVE, PatchOp.COPY)) == (p.from_ is not None),
            message="from belongs to move and copy, and only to these",
            at="from",
        ),
        Rule(
            cel="",
            holds=lambda p: (p.op in (PatchOp.ADD, PatchOp.REPLACE, PatchOp.TEST)) == ("value" in p.model_fields_set),
            message="value belongs to add, replace and test, and only to these",
            at="value",
        ),
        Rule(
            cel="!(self.path == '/id' || self.path.startsWith('/id/'))"
            " && !(self.op == 'move' && has(self.from) && (self.from == '/id' || self.from.startsWith('/id/')))",
            holds=lambda p: (
                not any(at == "/id" or at.startswith("/id/") for at in (p.path, p.from_ if p.op is PatchOp.MOVE else None) if at)
            ),
            message="/id cannot be patched: set spec.id",
            at="path",
            reason=Reason.FORBIDDEN,
        ),
    )

    op: Annotated[PatchOp, Field(strict=False)]
    """add, remove, replace, move, copy or test."""
    path: Annotated[str, Field(min_length=1, max_length=512), POINTER]
    """JSON pointer into the Marathon app."""
    from_: Annotated[Annotated[str, Field(min_length=1, max_length=512), POINTER] | None, Field(alias="from")] = None
    """JSON pointer to the source (move, copy)."""
    value: Anything | None = None
    """Value (add, replace, test); null cannot be given, and means nothing to Marathon: use remove."""


class PaasAppSpec(App):
    """A Marathon 1.11 app definition, pasted as it is, and how to manage it. Fields that Marathon adds to its answers are ignored."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.filesFrom) || self.filesFrom.size() == 0 || has(self.cmd)",
            holds=lambda s: not s.files_from or s.cmd is not None,
            message="filesFrom needs cmd: the shell writes the files before the command starts",
            at="filesFrom",
        ),
        Rule(
            cel="",
            holds=lambda s: not {ref.name for ref in s.env_refs or []} & set(s.env or {}),
            message="a variable stands in env and in envRefs: keep one of the two",
            at="envRefs",
        ),
        Rule(
            cel="!has(self.rollout) || self.rollout.strategy != 'Gated' || !has(self.management) || self.management.policy != 'NoDelete'",
            holds=lambda s: (
                s.rollout is None
                or s.rollout.strategy is not RolloutStrategy.GATED
                or s.management is None
                or s.management.policy is not Policy.NO_DELETE
            ),
            message="strategy Gated ends with the deletion of the former Marathon app, which management.policy NoDelete forbids",
            at="rollout.strategy",
        ),
        Rule(
            cel="!has(self.rollout) || self.rollout.strategy != 'Gated' || !has(self.residency)",
            holds=lambda s: s.rollout is None or s.rollout.strategy is not RolloutStrategy.GATED or s.residency is None,
            message="strategy Gated starts new tasks beside the old ones, which cannot take over the volumes of resident ones: use Rolling",
            at="rollout.strategy",
        ),
    )

    cluster_ref: NameRef
    """MesosCluster that runs the app."""
    env_refs: (
        Annotated[list[EnvRef], Field(max_length=MAX_REFS, json_schema_extra=kubernetes(list_type="map", list_map_keys=["name"]))] | None
    ) = None
    """Environment variables from Secrets and ConfigMaps. Their values reach Marathon, which stores the environment in clear."""
    files_from: (
        Annotated[list[FileRef], Field(max_length=64, json_schema_extra=kubernetes(list_type="map", list_map_keys=["path"]))] | None
    ) = None
    """Files from Secrets and ConfigMaps. Their values reach Marathon, which stores the environment in clear."""
    rollout: Rollout | None = None
    """How roll-outs are judged. Default: {deadlineSeconds: 600, onFailure: Rollback}."""
    management: Management | None = None
    """What the operator may do. Default: {policy: Full, adoption: Refuse, deletion: Delete, drift: Correct}."""
    patches: Annotated[list[Patch], Field(max_length=64)] | None = None
    """JSON patch over the rendered Marathon app, in this order, for whatever this schema does not know. The result is judged like a
    spec."""
    depends_on: (
        Annotated[list[NameRef], Field(max_length=64, json_schema_extra=kubernetes(list_type="map", list_map_keys=["name"]))] | None
    ) = None
    """PaasApps of the same namespace that must be Ready before this one is created or changed."""


class PaasApp(Node):
    """One application on a Mesos cluster, run by Marathon."""

    rules = (
        Rule(
            cel="has(self.spec.id) || !(self.metadata.name in ['restart', 'tasks', 'versions'])",
            holds=lambda app: app.spec.id is not None or app.metadata.name not in RESERVED,
            message="Marathon reserves the names restart, tasks and versions for the end of an id: choose another name, or set spec.id",
        ),
    )

    api_version: Literal["paas.shurenyun.com/v1alpha1"] = "paas.shurenyun.com/v1alpha1"
    """Group and version."""
    kind: Literal["PaasApp"] = "PaasApp"
    """Kind."""
    metadata: ObjectMeta
    """Name, namespace, generation, …"""
    spec: PaasAppSpec
    """What is asked for."""
    status: Annotated[PaasAppStatus | None, lenient_status(PaasAppStatus)] = None
    """What was found and done. None as well when another version of the operator wrote what this one cannot read."""

    @property
    def rollout(self) -> Rollout:
        """How roll-outs are judged, with defaults."""
        return self.spec.rollout or Rollout()

    @property
    def management(self) -> Management:
        """What the operator may do, with defaults."""
        return self.spec.management or Management()


OWN_FIELDS = frozenset(aliases(PaasAppSpec)) - MARATHON_FIELDS
"""Fields of a spec that are ours and never reach Marathon under their own name."""

__all__ = [
    "MARATHON_FIELDS",
    "OWN_FIELDS",
    "READ_ONLY_FIELDS",
    "OnFailure",
    "PaasApp",
    "PaasAppSpec",
    "PaasAppStatus",
    "ReadOnlyParts",
    "Rollout",
    "RolloutStep",
    "RolloutStrategy",
    "marathon_definition",
    "read",
]


def read(obj: Mapping[str, Any]) -> PaasApp:
    """Read a PaasApp from its JSON.

    Raises pydantic.ValidationError; `shuren.api.problems.problems` turns it into field paths and messages for people.
    """
    return PaasApp.model_validate(without_nulls(dict(obj)))


def marathon_definition(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Give the Marathon part of a raw spec exactly as it was pasted.

    Without our own fields, without the read-only fields of a GET and without what no Marathon knows. Values are the caller's objects: do
    not change them.
    """
    return {key: value for key, value in spec.items() if key in MARATHON_FIELDS}


def pasted_read_only(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the read-only fields of a Marathon answer that stand in the spec and are ignored, sorted, for a warning."""
    return tuple(sorted(READ_ONLY_FIELDS & spec.keys()))
