"""A real proxy process, real upstreams and plain sockets: for the tests of the proxy."""

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import psutil

from lab.proxy.client import ProxyClient
from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until

ROOT = PROJECT
SEED = 20261121
DEADLINE_S = 15.0


class ProxyProcess:
    """`python -m lab.proxy` with a free port; `call` returns (status, JSON or text)."""

    def __init__(self, *options: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab.proxy", "--port", "0", "--seed", str(SEED), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read().decode())
        self.api: str = json.loads(line)["api"]
        self.client = ProxyClient(self.api)

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = HTTPConnection(self.api, timeout=DEADLINE_S)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, raw, headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def edge(self, upstream: "int | Upstream", name: str = "edge", **fields: Any) -> int:
        """Creates a proxy of an upstream and returns its port."""
        port = upstream if isinstance(upstream, int) else upstream.port
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{port}", **fields}
        status, answer = self.call("POST", "/proxies", body)
        assert status == 201, answer
        return int(answer["listen"].rpartition(":")[2])

    def record(self, toxic: str, proxy: str = "edge") -> dict[str, Any]:
        return self.client.show(proxy, toxic).record

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def clear(self) -> None:
        for name in self.client.list():
            self.call("DELETE", f"/proxies/{name}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=DEADLINE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


@contextlib.contextmanager
def running(*options: str) -> Iterator[ProxyProcess]:
    process = ProxyProcess(*options)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.stop()


class Upstream:
    """A TCP server that runs `serve(socket)` in one thread per connection."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._server = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._server.getsockname()[1]
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                sock.settimeout(DEADLINE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sockets.append(sock)
                threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(sock)

    def first(self) -> socket.socket:
        """The first accepted connection, for tests that act as the server."""
        sockets: list[socket.socket] = wait_until(lambda: self.sockets, "a connection upstream")
        return sockets[0]

    def close(self) -> None:
        # shutdown wakes the thread in accept: without it the port stays open
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for sock in self.sockets:
            sock.close()


def echo(sock: socket.socket) -> None:
    """Sends all data back, and closes when the client closes."""
    with sock:
        while data := sock.recv(65536):
            sock.sendall(data)


def idle(sock: socket.socket) -> None:
    """Does nothing; the test uses the connection."""


class EchoMany(threading.Thread):
    """An echo server for a thousand connections in one thread."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._selector = selectors.DefaultSelector()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._server.getsockname()[1]
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ)
        self._open = True
        self.start()

    def run(self) -> None:
        while self._open:
            for key, _ in self._selector.select(0.1):
                self._turn(key.fileobj)  # type: ignore[arg-type]

    def _turn(self, sock: socket.socket) -> None:
        if sock is self._server:
            client, _ = sock.accept()
            self._selector.register(client, selectors.EVENT_READ)
            return
        try:
            data = sock.recv(4096)
        except OSError:
            data = b""
        if data:
            sock.sendall(data)
        else:
            self._selector.unregister(sock)
            sock.close()

    def close(self) -> None:
        self._open = False
        self.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def recv_exactly(sock: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        data = sock.recv(min(size, 1 << 20))
        if not data:
            break
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def recv_to_end(sock: socket.socket) -> bytes:
    parts = []
    while data := sock.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def round_trip_s(sock: socket.socket, payload: bytes = b"ping") -> float:
    started_s = time.monotonic()
    sock.sendall(payload)
    assert recv_exactly(sock, len(payload)) == payload
    return time.monotonic() - started_s


def was_reset(sock: socket.socket) -> bool:
    """True if the connection ends in RST, False if in FIN."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def is_reset_at_once(port: int) -> bool:
    """True if a new connection gets RST, which may come before `connect` has returned."""
    try:
        return was_reset(connect(port))
    except ConnectionResetError:
        return True


def is_refused(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def close_with_rst(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_silent(sock: socket.socket, for_s: float) -> bool:
    """True if neither data nor an end arrives within that time."""
    sock.settimeout(for_s)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(DEADLINE_S)
    return False
