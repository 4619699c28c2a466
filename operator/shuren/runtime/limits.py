"""What one target may be asked: a token bucket, a cap on concurrent requests, and a circuit breaker. One set per target, not per worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

from shuren.domain.errors import UnknownOutcome, Unreachable
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
    """Keeps a dead target from being hammered, and its callers from waiting for time-outs."""

    def __init__(self, *, clock: Clock, target: str, rule: BreakerRule | None = None) -> None:
        self._clock = clock
        self._why = f"{target} does not answer"
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

    def check(self) -> None:
        """Raise Unreachable, in the words of the last failure, while open, and while half open as long as somebody probes."""
        if self._opened_at is None:
            return
        left = self._pause - (self._clock.monotonic() - self._opened_at)
        if left > 0 or self._probing:
            raise Unreachable(self._why, retry_after=max(left, 0.5))

    def enter(self) -> None:
        """As `check`; while half open let one caller through, whose request tells whether it closes again."""
        self.check()
        self._probing = self._opened_at is not None

    def succeeded(self) -> None:
        """The target answered (even with a refusal)."""
        self._failures, self._opened_at, self._probing, self._pause = 0, None, False, self._rule.pause

    def failed(self, why: str = "") -> None:
        """The target did not answer."""
        self._why = why or self._why
        self._failures += 1
        if self._probing:
            self._pause = min(self._pause * 2, self._rule.longest_pause)
        if self._probing or self._failures >= self._rule.failures:
            self._opened_at = self._clock.monotonic()
        self._probing = False

    def gave_up(self) -> None:
        """The request ended without telling anything about the target (cancelled)."""
        self._probing = False


def no_answer(error: Exception) -> bool:
    """Whether an error means that nothing came back: the target may be dead. Everything else is an answer."""
    return isinstance(error, Unreachable | UnknownOutcome)


class Target:
    """All three limits around requests to one target: `async with target.request(): …`. `silent` tells which errors are no answer."""

    def __init__(
        self,
        *,
        clock: Clock,
        name: str,
        rate: float,
        burst: float,
        concurrency: int,
        rule: BreakerRule | None = None,
        silent: Callable[[Exception], bool] = no_answer,
    ) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._silent = silent
        self.bucket = TokenBucket(clock=clock, rate=rate, burst=burst)
        self.breaker = CircuitBreaker(clock=clock, target=name, rule=rule)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Wait for a slot and a token, refuse while the breaker is open, and tell the breaker how it went."""
        self.breaker.check()
        async with self._slots:
            delay = self.bucket.delay()
            if delay > 0:
                await self._clock.sleep(delay)
            async with self.attempt():
                yield

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """The breaker alone, for whoever must not wait between a check of his own and the request, and has taken his token before."""
        self.breaker.enter()
        try:
            yield
        except Exception as error:
            if self._silent(error):
                self.breaker.failed(str(error))
            else:
                self.breaker.succeeded()
            raise
        except BaseException:
            self.breaker.gave_up()
            raise
        else:
            self.breaker.succeeded()
