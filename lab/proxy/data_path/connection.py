"""One client connection and its upstream connection: two links, and the ways to end them."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from lab.proxy.data_path.link import BUFFER, READS_A_TURN, Link
from lab.proxy.data_path.memory import Memory
from lab.proxy.data_path.sender import Sender, Traffic
from lab.proxy.data_path.timers import Clock, Timer
from lab.proxy.deviations import Deviations
from lab.proxy.toxics.stage import End

RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s
LINGER_S = 1.0  # how long a peer may still send after our close, before its socket is closed


def prepare(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer may have closed already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def close_with_rst(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
    sock.close()


class Connection:
    """`number` is the client's position in the order of acceptance; `links` has one link per direction."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        deviations: Deviations,
        memory: Memory,
        number: int,
        client: socket.socket,
        upstream: socket.socket,
        traffic: dict[str, Traffic],
        on_closed: Callable[["Connection"], None],
    ) -> None:
        self.number = number
        self._loop = loop
        self._clock = clock
        self._deviations = deviations
        self._sockets = (client, upstream)
        self._on_closed = on_closed
        self._ended: set[str] = set()
        self.open = True
        self._lingering: set[socket.socket] = set()
        self._linger_timer: Timer | None = None

        def link(stream: str, source: socket.socket, sink: socket.socket) -> Link:
            def ended(how: End) -> None:
                self._link_ended(stream, sink, how)

            sender = Sender(loop, sink, traffic[stream], ended, self._broken)
            return Link(loop, clock, deviations, memory, source, sender, traffic[stream])

        self.links = {
            "upstream": link("upstream", client, upstream),
            "downstream": link("downstream", upstream, client),
        }

    def close(self) -> None:
        """Closes both sockets at once."""
        if self._stop():
            self._close_sockets(self._sockets)

    def reset(self) -> None:
        """Sends RST to both peers; unsent data is lost, as with any reset."""
        if self._stop():
            for sock in self._sockets:
                close_with_rst(sock)
            self._on_closed(self)

    def close_gently(self) -> None:
        """Closes both directions so that the peers still receive every byte sent so far.

        Closing a socket with unread bytes makes the kernel send RST, which may destroy data that
        the peer has not read yet. So this sends FIN and discards incoming data for LINGER_S.
        """
        if not self._stop():
            return
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            self._lingering.add(sock)
            self._loop.add_reader(sock, self._discard, sock)
        self._linger_timer = self._clock.at(self._clock.now_s() + LINGER_S, self._end_linger)

    def abandon(self) -> None:
        """Closes the connection in any state, because the proxy stops."""
        if self._lingering:
            self._end_linger()
        else:
            self.close()

    def _link_ended(self, stream: str, sink: socket.socket, how: End) -> None:
        if how is End.RST:
            self.reset()
        elif how is End.CUT:
            self.close_gently()
        elif stream not in self._ended:
            self._ended.add(stream)
            if len(self._ended) == 2:
                self.close()
                return
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            if not self._deviations.half_close:
                other = "downstream" if stream == "upstream" else "upstream"
                self.links[other].end_source(End.FIN)

    def _broken(self) -> None:
        if self._deviations.resets_travel:
            self.reset()
        else:
            self.close()

    def _stop(self) -> bool:
        was_open, self.open = self.open, False
        if was_open:
            for link in self.links.values():
                link.close()
        return was_open

    def _discard(self, sock: socket.socket) -> None:
        """Reads until the socket is empty, as Link does: uvloop reports an error once."""
        if sock not in self._lingering:
            return
        try:
            for _ in range(READS_A_TURN):
                if sock.recv_into(BUFFER) == 0:
                    break
            else:
                self._loop.call_soon(self._discard, sock)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._loop.remove_reader(sock)
        sock.close()
        self._lingering.discard(sock)
        if not self._lingering:
            self._end_linger()

    def _end_linger(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        for sock in self._lingering:
            self._loop.remove_reader(sock)
        left, self._lingering = self._lingering, set()
        self._close_sockets(tuple(left))

    def _close_sockets(self, sockets: tuple[socket.socket, ...]) -> None:
        for sock in sockets:
            sock.close()
        self._on_closed(self)
