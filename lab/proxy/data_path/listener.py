"""Accepts clients and connects each to the upstream, concurrently."""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from lab.proxy.data_path import addresses
from lab.proxy.data_path.connection import close_with_rst, prepare
from lab.proxy.data_path.names import Names, Resolved
from lab.proxy.toxics.connection_cap import Admission

ACCEPTS_A_TURN = 64
PAUSE_S = 0.05
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener:
    """Owns a listening socket.

    `number` returns the next client's number in the order of acceptance. `admission` decides about a
    client: it takes the number of clients being connected, and whether the client is new.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        upstream: str,
        names: Names,
        number: Callable[[], int],
        on_connected: Callable[[int, socket.socket, socket.socket], None],
        admission: Callable[[int, bool], Admission],
        *,
        rst_if_unreachable: bool,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._upstream = upstream
        self._names = names
        self._number = number
        self._on_connected = on_connected
        self._admission = admission
        self._rst_if_unreachable = rst_if_unreachable
        self._dialling: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        self._open = True
        self._listen()

    @property
    def where(self) -> Resolved:
        return self._sock.family, self._sock.getsockname()

    def close(self) -> None:
        """Stops listening and closes the clients that have no upstream connection yet."""
        self._open = False
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for task in self._dialling:
            task.cancel()
        while self._waiting:
            self._waiting.popleft()[1].close()

    def admit_waiting(self) -> None:
        """Admits waiting clients in order of arrival, after a client left or a cap changed."""
        while self._waiting and self._open:
            admission = self._admission(len(self._dialling), False)
            if admission is Admission.WAITS:
                return
            number, client = self._waiting.popleft()
            self._enter(admission, number, client)

    def _listen(self) -> None:
        if self._open:
            self._loop.add_reader(self._sock, self._acceptable)

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                client, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    # the socket stays readable: without a pause the event loop would spin
                    self._loop.remove_reader(self._sock)
                    self._loop.call_later(PAUSE_S, self._listen)
                    return
                continue  # this client has gone; try the next
            client.setblocking(False)
            admission = self._admission(len(self._dialling), True)
            if self._waiting and admission is Admission.IN:
                admission = Admission.WAITS  # earlier clients come first
            self._enter(admission, self._number(), client)

    def _enter(self, admission: Admission, number: int, client: socket.socket) -> None:
        if admission is Admission.WAITS:
            self._waiting.append((number, client))
        elif admission is Admission.REFUSED:
            close_with_rst(client)
        else:
            task = self._loop.create_task(self._connect(number, client))
            self._dialling.add(task)
            task.add_done_callback(partial(self._dialled, client))

    def _dialled(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._dialling.discard(task)
        if task.cancelled():
            client.close()
        self.admit_waiting()

    async def _connect(self, number: int, client: socket.socket) -> None:
        try:
            upstream = await addresses.dial(self._upstream, self._names)
        except OSError:
            if self._rst_if_unreachable:
                close_with_rst(client)
            else:
                client.close()
            return
        prepare(client)
        prepare(upstream)
        self._on_connected(number, client, upstream)
