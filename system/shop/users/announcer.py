"""Announces ended sessions to every service, at least once each, also after a crash or an outage of the broker."""

import asyncio
import logging
from typing import Protocol

from chassis.background import until_beat_s
from chassis.messaging.bus import UNREACHABLE

log = logging.getLogger("users.announcer")
LOOK_S = 1.0  # interval to look for sessions that ended elsewhere: in another instance, or with a deleted user


class Store(Protocol):
    async def ended_sessions(self) -> list[str]: ...

    async def announced(self, session_ids: list[str]) -> None: ...


class Announcements(Protocol):
    async def announce(self, session_id: str) -> None: ...


class Announcer:
    """`run` in the background; `announce` at once after a log-out, so that its answer is true."""

    def __init__(self, store: Store, announcements: Announcements) -> None:
        self._store = store
        self._announcements = announcements

    async def announce(self) -> None:
        """Announce what is due. While the broker is down, it stays due."""
        ended = await self._store.ended_sessions()
        try:
            for session_id in ended:
                await self._announcements.announce(session_id)
        except UNREACHABLE as error:
            log.warning("ended sessions wait for the broker: %s", error or type(error).__name__)
            return
        if ended:
            await self._store.announced(ended)

    async def run(self) -> None:
        while True:
            await self.announce()
            await asyncio.sleep(until_beat_s(LOOK_S))
