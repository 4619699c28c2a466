"""Waiting for one of two things."""

from __future__ import annotations

import asyncio

from shuren.ports.clock import Clock


async def sleep_or(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Until the event is set, or `seconds` are over."""
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
        waiter.cancel()
