"""The programs and sockets of bench/proxy.py: upstream servers, our proxy, Toxiproxy.

python bench/proxy_rig.py echo|source      serves as an upstream; prints its port
"""

import contextlib
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.proxy.client import ProxyClient, ProxyUnreachableError  # noqa: E402

PING = b"x" * 64


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def round_trip_s(sock: socket.socket) -> float:
    started_s = time.perf_counter()
    sock.sendall(PING)
    sock.recv(4096)
    return time.perf_counter() - started_s


def nap_s(length_s: float) -> float:
    started_s = time.perf_counter()
    time.sleep(length_s)
    return time.perf_counter() - started_s


def fetch(port: int, size: int) -> None:
    """Requests `size` bytes from the source and reads them."""
    buffer = memoryview(bytearray(1 << 20))
    with connect(port) as sock:
        sock.sendall(b"%d\n" % size)
        while size > 0:
            size -= sock.recv_into(buffer)


@contextlib.contextmanager
def child(*command: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def upstream(kind: str) -> Iterator[int]:
    with child(sys.executable, __file__, kind) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextlib.contextmanager
def our_proxy() -> Iterator[str]:
    with child(sys.executable, "-m", "lab.proxy", "--port", "0", "--seed", "1") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["api"]


@contextlib.contextmanager
def toxiproxy(path: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # it logs every connection: an unread pipe would block it
    with child(path, "-host", "127.0.0.1", "-port", str(port), stdout=subprocess.DEVNULL):
        client = ProxyClient(f"127.0.0.1:{port}")
        wait_for(client.list)
        yield f"127.0.0.1:{port}"


def wait_for(call: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + 10
    while True:
        try:
            call()
        except ProxyUnreachableError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


def serve(kind: str) -> None:
    """Serves as an upstream: echoes, or sends as many bytes as the first line requests."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(server.getsockname()[1], flush=True)
    if kind == "echo":
        echo(server)
    while True:
        sock, _ = server.accept()
        threading.Thread(target=source, args=(sock,), daemon=True).start()


def echo(server: socket.socket) -> None:
    """Serves all connections in one thread: more threads would distort the measurement."""
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == server.fileno():
                sock, _ = server.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            data = b""
            with contextlib.suppress(OSError):
                data = sockets[fd].recv(65536)
            if data:
                sockets[fd].sendall(data)
            else:
                poll.unregister(fd)
                sockets.pop(fd).close()


def source(sock: socket.socket) -> None:
    block = memoryview(bytes(1 << 20))
    with sock, contextlib.suppress(OSError):
        size = int(sock.makefile("rb").readline())
        while size > 0:
            size -= sock.send(block[: min(size, len(block))])


if __name__ == "__main__":
    serve(sys.argv[1])
