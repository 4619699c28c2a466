"""A certificate with its key, apart from `pki`, which makes them: every command of `shuren` comes by here and few make any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """Files of a certificate and its key (PEM)."""

    certificate: Path
    key: Path
