"""XXH64 by the optional package `xxhash` (extra `accel`). The only module that imports it, and only `backend` imports this one, when
asked.
"""

from __future__ import annotations

from collections.abc import Callable

import xxhash

xxh64: Callable[..., int] = xxhash.xxh64_intdigest
