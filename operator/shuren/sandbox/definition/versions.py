"""What counts as a change of an app or pod, and the versions that follow from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shuren.sandbox.contract import Group

from . import tree

Json = dict[str, Any]
_NOT_CONFIG = ("id", "instances", "version", "versionInfo", "executorResources")
_SETS = ("constraints", "healthChecks", "dependencies", "acceptedResourceRoles")


def _config(app: Mapping[str, Any]) -> Json:
    config = {key: value for key, value in app.items() if key not in _NOT_CONFIG}
    for key in _SETS:
        if key in config:
            config[key] = sorted(config[key], key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(config.get("scaling"), dict):
        del config["scaling"]
    return config


def is_config_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether running tasks must be replaced: anything but the number of instances (and executor resources) differs."""
    return _config(old) != _config(new)


def instances(spec: Mapping[str, Any]) -> int:
    """How many instances an app or pod wants."""
    count = spec["scaling"]["instances"] if "scaling" in spec else spec["instances"]
    return int(count)


def marked_for_restart(app: Json) -> Json:
    """The same definition as a new configuration."""
    return app | {"versionInfo": {}}


def stamp(old: Json | None, new: Json, now: str) -> Json:
    """The new definition with its version: a config change moves all three stamps, a scale all but the last config change.

    What did not change is the old value itself, which is how the engine sees that there is nothing to do.
    """
    if old is None or new.get("versionInfo") == {} or is_config_change(old, new):
        return new | {"version": now, "versionInfo": {"lastScalingAt": now, "lastConfigChangeAt": now}}
    if instances(old) != instances(new):
        config = old["versionInfo"]["lastConfigChangeAt"]
        return new | {"version": now, "versionInfo": {"lastScalingAt": now, "lastConfigChangeAt": config}}
    if new.get("executorResources") != old.get("executorResources"):
        return new | {"version": old["version"], "versionInfo": old["versionInfo"]}
    return old


def stamp_all(old: Group, new: Group, now: str) -> Group:
    """Versions for every app and pod of the new root, against the old one."""

    def change(before: Json | None, spec: Json) -> Json:
        return stamp(before, spec, now)

    return tree.map_changed(old, tree.map_changed(old, new, tree.Kind.APPS, change), tree.Kind.PODS, change)
