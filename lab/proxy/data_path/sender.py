"""The sending side of one direction: writes at once and queues what the socket does not accept."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lab.proxy.toxics.stage import KIB, End

HIGH_WATER = 256 * KIB  # queued bytes above which the link stops reading


@dataclass(slots=True)
class Traffic:
    """Byte counts of one direction of one proxy, for /metrics."""

    received: int = 0
    sent: int = 0


class Sender:
    """The last sink of a link. Calls `on_end` when all bytes before an end are sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        traffic: Traffic,
        on_end: Callable[[End], None],
        on_broken: Callable[[], None],
    ) -> None:
        self.sock = sock
        self.queued = 0
        self.closed = False
        self.on_progress: Callable[[], None] | None = None
        self._loop = loop
        self._traffic = traffic
        self._queue: deque[memoryview] = deque()
        self._ending: End | None = None
        self._on_end = on_end
        self._on_broken = on_broken

    def feed(self, data: bytes | memoryview, arrived_s: float) -> None:
        if self.closed:
            return
        if self._queue:
            self._queue.append(memoryview(bytes(data)))
            self.queued += len(data)
            return
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            self._on_broken()
            return
        self._traffic.sent += count
        if count < len(data):
            self._queue.append(memoryview(bytes(data[count:])))
            self.queued += len(data) - count
            self._loop.add_writer(self.sock, self._writable)

    def end(self, how: End) -> None:
        """Ends after the queued bytes. A pending half-close may become a full close, not the reverse."""
        if self.closed:
            return
        if how is End.RST or not self._queue:
            self._on_end(how)
        elif self._ending is not End.CUT:
            self._ending = how

    def close(self) -> None:
        """Discards the queue; the connection closes the socket."""
        if self._queue:
            self._loop.remove_writer(self.sock)
            self._queue.clear()
            self.queued = 0
        self.closed = True

    def _writable(self) -> None:
        queue = self._queue
        try:
            while queue:
                count = self.sock.send(queue[0])
                self._traffic.sent += count
                self.queued -= count
                if count < len(queue[0]):
                    queue[0] = queue[0][count:]
                    break
                queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._on_broken()
            return
        if not queue:
            self._loop.remove_writer(self.sock)
            if self._ending is not None:
                how, self._ending = self._ending, None
                self._on_end(how)
        if self.on_progress is not None:
            self.on_progress()
