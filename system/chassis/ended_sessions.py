"""Sessions that ended: users announces them on NATS KV, and every service refuses their access tokens at once."""

import time

from nats.aio.client import Client
from nats.js.api import StorageType

from chassis.messaging.bucket import Bucket

BUCKET = "ended_sessions"
KEPT_S = 86_400.0  # an access token lives for less time


class EndedSessions:
    """The local view. While the broker is down it is as old as the last connection."""

    def __init__(self, nats: Client) -> None:
        # in a file, not in memory: users announces each session once
        self._bucket = Bucket(nats, BUCKET, KEPT_S, StorageType.FILE)
        self._seen_at: dict[str, float] = {}  # by session id, the oldest first

    async def open(self) -> None:
        """Follow the announcements. Raises the errors in UNREACHABLE."""
        await self._bucket.open(self._see)

    async def close(self) -> None:
        """Stop following."""
        await self._bucket.close()

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._seen_at

    async def announce(self, session_id: str) -> None:
        """Publish that this session ended; only users has the right. Raises the errors in UNREACHABLE."""
        await self._bucket.put(session_id, b"1")

    async def _see(self, session_id: str, value: bytes) -> None:
        now = time.monotonic()
        self._seen_at.setdefault(session_id, now)
        while self._seen_at[oldest := next(iter(self._seen_at))] < now - KEPT_S:
            del self._seen_at[oldest]
