"""Launch back-off: how long an app whose tasks fail has to wait before the next launch.

The key is (app, version of its configuration): a configuration change starts afresh, scaling does not. Each failure multiplies the delay by
`backoffFactor` up to `maxLaunchDelaySeconds`; a delay not renewed for that long is forgotten. A task on its way renews it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuren.sandbox.engine.model import config_version

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.clock import Clock


CLEANUP = 10.0
"""How often, in seconds, Marathon looks for delays to forget: one at its cap is still there when the next launch comes soon after it."""


@dataclass(slots=True)
class _Delay:
    current: float
    until: float
    forget_at: float


class Backoff:
    """All current delays."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._delays: dict[tuple[str, str], _Delay] = {}

    def failed(self, definition: Json) -> float:
        """Notes a failed launch; returns the time until which the app has to wait."""
        key = (definition["id"], config_version(definition))
        now = self._clock.now()
        cap = float(_setting(definition, "maxLaunchDelaySeconds", 300))
        delay = self._delays.get(key)
        if delay is None or delay.forget_at < now:
            current = float(_setting(definition, "backoffSeconds", 1))
        else:
            current = delay.current * float(_setting(definition, "backoffFactor", 1.15))
        current = min(current, cap)
        self._delays[key] = _Delay(current, now + current, now + cap + CLEANUP)
        return now + current

    def advanced(self, definition: Json) -> None:
        """A task of it gets on its way: what delay there is begins again."""
        delay = self._delays.get((definition["id"], config_version(definition)))
        now = self._clock.now()
        if delay is not None and now <= delay.forget_at:
            delay.until = now + delay.current
            delay.forget_at = now + float(_setting(definition, "maxLaunchDelaySeconds", 300)) + CLEANUP

    def until(self, definition: Json) -> float:
        """When it may launch again; a time in the past (0) when it may at once."""
        delay = self._delays.get((definition["id"], config_version(definition)))
        return 0.0 if delay is None else delay.until

    def reset(self, definition: Json) -> None:
        """Of this configuration. That of others goes on."""
        self._delays.pop((definition["id"], config_version(definition)), None)

    def forget(self, app_id: str) -> None:
        """All delays of an app that is gone."""
        for key in [k for k in self._delays if k[0] == app_id]:
            del self._delays[key]


def _setting(definition: Json, name: str, default: float) -> float:
    if name in definition:
        return float(definition[name])
    # Pods keep theirs under scheduling.backoff, without "Seconds" in some names.
    nested = definition.get("scheduling", {}).get("backoff", {})
    pod_name = {"backoffSeconds": "backoff", "maxLaunchDelaySeconds": "maxLaunchDelay"}.get(name, name)
    return float(nested.get(pod_name, default))
