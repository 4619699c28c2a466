"""Until when a member may serve, told from its own clock: always less long than the servers would wait before they gave its shards away.

ZooKeeper ends a session when it has heard nothing of it for the negotiated time T. A write that was answered had been heard no earlier
than it was sent; so, T after it was sent, the session may end, and not before. The lease is two thirds of T from the sending of the last
answered write. The last third is for what a process does between asking and doing, and it is what a caller may wait for a reply at most
(`reply_bound`): a reply that comes within it was given before anybody else could have been made the primary, even by a process that was
stopped in between.
"""

from __future__ import annotations

import threading
import time

_PART = 2.0 / 3.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds() -> float:
    """The clock of leases: also goes on while the machine sleeps, where there is such a one."""
    return time.clock_gettime(_CLOCK)


class Lease:
    """One member's. A session counts once it is confirmed: the member is registered and has read, after that, what is its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session = 0
        self.until = 0.0

    @staticmethod
    def length(session_seconds: float) -> float:
        """Seconds from the sending of an answered write."""
        return session_seconds * _PART

    @staticmethod
    def reply_bound(session_seconds: float) -> float:
        """Seconds that a caller may wait for a reply and still believe it."""
        return session_seconds - session_seconds * _PART

    @property
    def session(self) -> int:
        """The confirmed session, 0 for none."""
        return self._session

    def confirm(self, session: int) -> None:
        """From now on, answered writes of this session count."""
        with self._lock:
            self._session = session

    def extend(self, session: int, *, sent: float, session_seconds: float) -> bool:
        """A write was answered that was sent then. False, and nothing changes, when that session is not confirmed."""
        with self._lock:
            if session == 0 or session != self._session:
                return False
            self.until = max(self.until, sent + self.length(session_seconds))
            return True

    def end(self) -> None:
        """The session is over, or somebody else has our name: nothing may be served."""
        with self._lock:
            self._session = 0
            self.until = 0.0
