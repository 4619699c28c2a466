"""Requests about apps, read, checked and completed: from JSON to stored definitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shuren.sandbox.contract import Group, Settings

from . import app_rules, app_shape, normalise, paths, tree
from .errors import ApiError, Violation, bad_shape, not_valid, refused
from .shape import Shape

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an app lives: what its defaults and rules need of the tree and the settings."""

    config: normalise.Config
    rules: app_rules.Rules


def place(root: Group, app_id: str, settings: Settings, *, force: bool = False) -> Place:
    """Roles allowed for an id: the server's and the top-level group's, only the latter where the group enforces it, and the one it has.

    With `force` what is resident may change its role.
    """
    own = paths.top_level(app_id) if len(paths.segments(app_id)) > 1 else ""
    group = tree.find(root, "/" + own) if own else None
    enforced = bool(own) and bool(settings.new_groups_enforce_role if group is None else group.enforce_role)
    existing = tree.app(root, app_id) or tree.pod(root, app_id)
    allowed = [own] if enforced else [settings.mesos_role, own]
    kept = existing["role"] if existing is not None and own and not force else None
    return _place(existing if own else None, settings, role=own if enforced else settings.mesos_role, roles=allowed, kept=kept)


def place_in_group(root: Group, app_id: str, settings: Settings, *, role: str, roles: tuple[str, ...]) -> Place:
    """The place of an app within the update of a group, which says what role it has by default and which ones it may have."""
    existing = tree.app(root, app_id) or tree.pod(root, app_id)
    return _place(existing, settings, role=role, roles=roles, kept=None)


def _place(known: Json | None, settings: Settings, *, role: str, roles: Iterable[str], kept: str | None) -> Place:
    allowed = [*roles, *([known["role"]] if known is not None else [])]
    return Place(
        config=normalise.Config(default_role=role, default_network_name=settings.default_network_name),
        rules=app_rules.Rules(
            features=settings.features,
            default_network_name=settings.default_network_name,
            valid_roles=tuple(dict.fromkeys(name for name in allowed if name)),
            kept_role=kept,
        ),
    )


def read(shape: Shape, value: Any) -> Any:
    """The value in its shape, or a 422 that names every wrong field."""
    violations: list[Violation] = []
    result = shape.read(value, "", violations)
    if violations:
        raise bad_shape(violations)
    return result


def require(violations: Iterable[Violation]) -> None:
    """Raises a 422 when there are any."""
    found = list(violations)
    if found:
        raise not_valid(found)


def normalised(app: Json, at: Place, *, base: str = "/") -> Json:
    """A whole app through all checks and defaults. Relative ids hang below `base`."""
    require(app_rules.deprecated(app))
    modern = normalise.with_role(normalise.modernise(app | {"id": paths.absolute(app["id"], base)}), at.config)
    modern = modern | {"dependencies": list(dict.fromkeys(_canonical(modern["dependencies"], base)))}
    require(app_rules.canonical(modern, at.rules))
    return normalise.complete(modern, at.config)


def _canonical(dependencies: list[str], base: str) -> list[str]:
    # what is no id at all is left for the rules to name
    return [dependency if paths.complaints(dependency) else paths.absolute(dependency, base) for dependency in dependencies]


def define(app: Json, at: Place, *, version: str) -> Json:
    """The stored definition of a normalised app, after the last round of rules."""
    require(app_rules.model(app, at.rules))
    return normalise.to_definition(app, version=version)


def from_request(value: Any) -> Json:
    """A whole app as POST and list PUT (without partial update) take it."""
    app: Json = read(app_shape.APP, value)
    return app


def as_object(value: Any) -> Json:
    """PUT of one app wants an object before it looks at any field."""
    if not isinstance(value, dict):
        raise bad_shape([Violation(path="", message="error.expected.jsobject")])
    return value


def stripped(app: Json) -> Json:
    """What PUT forgets of a whole app on the way: executor resources and versions."""
    return normalise.without(app, "executorResources", "version", "versionInfo")


def replacement(value: Any, app_id: str) -> Json:
    """A whole app under the id of the URL, as PUT takes it."""
    return stripped(from_request({**as_object(value), "id": app_id}))


def require_lone_version(update: Json) -> None:
    """`version` means going back to it, and goes with nothing else."""
    if "version" in update and set(update) - {"version", "id"}:
        raise not_valid([Violation(path="/", message="The 'version' field may only be combined with the 'id' field.")])


def update_from_request(value: Any, at: Place) -> Json:
    """A partial app in today's fields."""
    update: Json = read(app_shape.APP_UPDATE, value)
    return modern_update(update, at)


def modern_update(update: Json, at: Place) -> Json:
    """A partial app that was read, in today's fields."""
    require_lone_version(update)
    if "version" in update:
        return update
    return normalise.modernise_update(update, at.config)


def merged(update: Json, current: Json, at: Place, *, version: str) -> Json:
    """A stored definition after a partial update."""
    return define(normalised(normalise.merge(update, current), at), at, version=version)


def created(app: Json, at: Place, *, version: str) -> Json:
    """A definition from a whole app that went through PUT: it is normalised twice there, which adds default port indices."""
    return define(normalised(_with_strategy(normalised(app, at)), at), at, version=version)


def from_partial(update: Json, app_id: str, at: Place, *, version: str) -> Json:
    """A new app from a partial update, as the list PUT creates it. It fills in a stored definition and not a request, so that an app on
    the host network has the ports that it names, and none by default.
    """
    whole = from_request({"id": app_id, "cmd": "unused", "portDefinitions": []})
    filled = normalise.without(whole, "cmd") | normalise.without(update, "id", "version")
    return define(normalised(_with_strategy(filled), at), at, version=version)


def _with_strategy(app: Json) -> Json:
    """The default strategy as if the request had named it, which lets the rules judge it with all the rest."""
    return app | {"upgradeStrategy": app.get("upgradeStrategy") or normalise.default_upgrade(app)}


def missing(app_id: str, *, details: bool = False) -> ApiError:
    """404 of an app."""
    return refused(404, f"App '{app_id}' does not exist", details=details)
