"""Kubernetes Events for people: few reasons, on transitions only. The recorder aggregates repeats; it never fails a pass."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from shuren.ports.kubernetes import Object


class Severity(Enum):
    """Kubernetes' two event types."""

    NORMAL = "Normal"
    WARNING = "Warning"


class EventRecorder(Protocol):
    """Writes `events.k8s.io/v1`."""

    def record(self, regarding: Object, *, severity: Severity, reason: str, action: str, note: str) -> None:
        """Queue an event about `regarding`; the same reason and note within ten minutes becomes a series."""
