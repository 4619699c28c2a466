"""What one target may be asked: a token bucket, a cap on concurrent requests, and a circuit breaker. One set per target, not per worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

from shuren.domain.errors import Transient, Unreachable
from shuren.ports.clock import Clock


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up."""

    def __init__(self, *, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = clock.monotonic()

    def delay(self, tokens: float = 1.0) -> float:
        """Take `tokens` (going into debt) and return how many seconds the taker must wait before it acts."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)


class Breaker(Enum):
    """CLOSED: requests flow. OPEN: refused at once. HALF_OPEN: one request probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerRule:
    """Opens after `failures` in a row; probes again after `pause` seconds, doubling up to `longest_pause` while probes fail."""

    failures: int = 5
    pause: float = 1.0
    longest_pause: float = 30.0


class CircuitBreaker:
    """Keeps a dead target from being hammered, and its callers from waiting for time-outs. Only `Unreachable` counts as failure."""

    def __init__(self, *, clock: Clock, target: str, rule: BreakerRule | None = None) -> None:
        self._clock = clock
        self._target = target
        self._rule = rule or BreakerRule()
        self._failures = 0
        self._opened_at: float | None = None
        self._pause = self._rule.pause
        self._probing = False

    @property
    def state(self) -> Breaker:
        """As of now."""
        if self._opened_at is None:
            return Breaker.CLOSED
        over = self._clock.monotonic() - self._opened_at >= self._pause
        return Breaker.HALF_OPEN if over else Breaker.OPEN

    def enter(self) -> None:
        """Raise Unreachable while open; while half open let one caller through."""
        if self._opened_at is None:
            return
        left = self._pause - (self._clock.monotonic() - self._opened_at)
        if left > 0 or self._probing:
            raise Unreachable(f"{self._target} does not answer; not asked again for now", retry_after=max(left, 0.5))
        self._probing = True

    def succeeded(self) -> None:
        """The target answered (even with a refusal)."""
        self._failures, self._opened_at, self._probing, self._pause = 0, None, False, self._rule.pause

    def failed(self) -> None:
        """The target did not answer."""
        self._failures += 1
        if self._probing:
            self._pause = min(self._pause * 2, self._rule.longest_pause)
        if self._probing or self._failures >= self._rule.failures:
            self._opened_at = self._clock.monotonic()
        self._probing = False

    def gave_up(self) -> None:
        """The request ended without telling anything about the target (cancelled)."""
        self._probing = False


class Target:
    """All three limits around requests to one target: `async with target.request(): …`."""

    def __init__(self, *, clock: Clock, name: str, rate: float, burst: float, concurrency: int, rule: BreakerRule | None = None) -> None:
        self._clock = clock
        self._bucket = TokenBucket(clock=clock, rate=rate, burst=burst)
        self._slots = asyncio.Semaphore(concurrency)
        self.breaker = CircuitBreaker(clock=clock, target=name, rule=rule)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Wait for a slot and a token, refuse while the breaker is open, and tell the breaker how it went."""
        self.breaker.enter()
        try:
            async with self._slots:
                delay = self._bucket.delay()
                if delay > 0:
                    await self._clock.sleep(delay)
                yield
        except Unreachable:
            self.breaker.failed()
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self.breaker.gave_up()
            raise
        except Transient:
            self.breaker.gave_up()
            raise
        except Exception:
            self.breaker.succeeded()
            raise
        else:
            self.breaker.succeeded()
