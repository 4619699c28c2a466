"""What Mesos says of itself and of its agents, read again every half minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from shuren.domain.cluster import MesosAgent, MesosSummary
from shuren.domain.errors import ShurenError
from shuren.domain.service.observe import Agent, place_of
from shuren.ports.clock import Clock
from shuren.ports.mesos import Mesos

_BEAT = 30.0


class Hosts:
    """The agents of one cluster. `answered`: Mesos answers again; `moved`: the places of agents are known now, or are others."""

    def __init__(self, *, mesos: Mesos | None, clock: Clock, answered: Callable[[], None], moved: Callable[[], None]) -> None:
        self._mesos, self._clock = mesos, clock
        self._answered, self._moved = answered, moved
        self._read = False
        self.silent_since: float | None = clock.monotonic()
        """Since when (monotonic) Mesos has not answered; None while it does."""
        self.error = ""
        """Why it did not, the last time."""
        self.summary: MesosSummary | None = None
        """What Mesos last said; None when it is not read or has never answered."""
        self.places: Mapping[str, Agent] = {}
        """Address and zone of agents by Mesos' id, as Mesos last said."""

    @property
    def known(self) -> bool:
        """Whether Mesos has told where its agents are, or is not asked at all."""
        return self._mesos is None or self._read

    @property
    def going(self) -> frozenset[str]:
        """Host names of agents that Mesos was told to drain or deactivate."""
        return frozenset(agent.hostname for agent in self.places.values() if agent.going)

    async def run(self) -> None:
        """Reads for ever; nothing to do when there is no Mesos to read."""
        while self._mesos is not None:
            try:
                self.summary = await self._mesos.summary()
                self._place(await self._mesos.agents())
            except ShurenError as error:
                self.error = str(error)
                if self.silent_since is None:
                    self.silent_since = self._clock.monotonic()
            else:
                changed = self.silent_since is not None
                self.silent_since, self.error = None, ""
                if changed:
                    self._answered()
            await self._clock.sleep(_BEAT)

    def _place(self, agents: Iterable[MesosAgent]) -> None:
        places = {a.id: place_of(a) for a in agents}
        known, self._read = self._read, True
        if places != self.places or not known:
            self.places = places
            self._moved()
