"""The same for asyncio. ZooKeeper is spoken to in threads as before; nothing here blocks the event loop, and looking up stays a plain call.

async with AsyncShardMapClient(client) as shards:
shards.route("user:7")                       # no await: it is in memory
async for table in shards.changes(): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from shuren.sharding.client import ShardMapClient
from shuren.sharding.core.keys import Key
from shuren.sharding.core.member import Member
from shuren.sharding.core.table import ShardTable
from shuren.sharding.handoff import Handoff, ShardServer
from shuren.sharding.member import ShardMember
from shuren.sharding.wrong_shard import NotServing, WrongShard

T = TypeVar("T")


class AsyncShardMapClient:
    """Around a client that was not started. See `client.ShardMapClient` for what its methods mean."""

    def __init__(self, client: ShardMapClient) -> None:
        self.client = client
        self._news: set[asyncio.Queue[ShardTable]] = set()

    async def start(self, *, within: float = 10.0) -> Self:
        """See the client."""
        loop = asyncio.get_running_loop()

        def changed(_: ShardTable | None, table: ShardTable) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._tell, table)

        self.client.on_change(changed)
        await asyncio.to_thread(self.client.start, within=within)
        return self

    async def stop(self) -> None:
        """See the client."""
        await asyncio.to_thread(self.client.stop)

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.stop()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    def route(self, key: Key) -> Member:
        """See the client."""
        return self.client.route(key)

    def route_many(self, keys: Iterable[Key]) -> list[Member]:
        """See the client."""
        return self.client.route_many(keys)

    async def wait_for(self, generation: int, *, within: float) -> bool:
        """See the client."""
        return await asyncio.to_thread(self.client.wait_for, generation, within=within)

    def _tell(self, table: ShardTable) -> None:
        for queue in self._news:
            queue.put_nowait(table)

    async def changes(self) -> AsyncIterator[ShardTable]:
        """The table in use, then each new one."""
        queue: asyncio.Queue[ShardTable] = asyncio.Queue()
        self._news.add(queue)
        try:
            generation = -1
            if self.client.table is not None:
                generation = self.client.table.generation
                yield self.client.table
            while True:
                table = await queue.get()
                if table.generation != generation:
                    generation = table.generation
                    yield table
        finally:
            self._news.discard(queue)

    async def call(
        self, key: Key, send: Callable[[Member], Awaitable[T]], *, tries: int = 5, pause: float = 0.1, reply_within: float | None = None
    ) -> T:
        """See the client; `send` is a coroutine function."""
        loop = asyncio.get_running_loop()
        steps = self.client.attempts(key, tries=tries, reply_within=reply_within)
        while True:
            member = steps.member()
            sent = loop.time()
            try:
                reply = await send(member)
            except (WrongShard, NotServing) as error:
                newer = steps.refused(error)
                if newer is None:
                    continue
                await (self.wait_for(newer, within=pause) if newer else asyncio.sleep(pause))
            else:
                steps.believe(loop.time() - sent)
                return reply


class AsyncShardServer(Protocol):
    """`handoff.ShardServer` with coroutines, run in the event loop in which the member was started."""

    async def prepare(self, handoff: Handoff, /) -> None:
        """See ShardServer."""
        ...

    async def catch_up(self, handoff: Handoff, /) -> None:
        """See ShardServer."""
        ...

    async def forward(self, handoff: Handoff, /) -> None:
        """See ShardServer."""
        ...

    async def activate(self, handoff: Handoff, /) -> None:
        """See ShardServer."""
        ...

    async def drop(self, handoff: Handoff, /) -> None:
        """See ShardServer."""
        ...

    async def resharded(self, before: int, after: int, /) -> None:
        """See ShardServer."""
        ...


class InLoop:
    """An AsyncShardServer as a ShardServer: each call is carried out in the event loop, while a worker thread waits for it."""

    def __init__(self, server: AsyncShardServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop

    def _wait(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def prepare(self, handoff: Handoff, /) -> None:
        """See the port."""
        self._wait(self._server.prepare(handoff))

    def catch_up(self, handoff: Handoff, /) -> None:
        """See the port."""
        self._wait(self._server.catch_up(handoff))

    def forward(self, handoff: Handoff, /) -> None:
        """See the port."""
        self._wait(self._server.forward(handoff))

    def activate(self, handoff: Handoff, /) -> None:
        """See the port."""
        self._wait(self._server.activate(handoff))

    def drop(self, handoff: Handoff, /) -> None:
        """See the port."""
        self._wait(self._server.drop(handoff))

    def resharded(self, before: int, after: int, /) -> None:
        """See the port."""
        self._wait(self._server.resharded(before, after))


class AsyncShardMember:
    """A member whose application is asynchronous: `make` is given the ShardServer to build the ShardMember with.

        async with AsyncShardMember(server, lambda s: ShardMember(store, path, id="agent-7", server=s)) as member:
            with member.serving("user:7") as permit: ...

    `serving` and `permit` of the member are plain calls and do not block; a handed-over shard waits for the blocks that are open.
    """

    def __init__(self, server: AsyncShardServer, make: Callable[[ShardServer], ShardMember]) -> None:
        self._server = server
        self._make = make
        self._member: ShardMember | None = None

    async def __aenter__(self) -> ShardMember:
        member = self._member = self._make(InLoop(self._server, asyncio.get_running_loop()))
        await asyncio.to_thread(member.__enter__)
        return member

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._member is not None:
            await asyncio.to_thread(self._member.stop)
