"""Checks whether ports are free, and finds the processes that hold the others."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TakenPort:
    """A port that another process listens on."""

    name: str
    port: int
    holder: str

    def __str__(self) -> str:
        return f"port {self.port} ({self.name}) is taken by {self.holder}"


def taken(ports: Mapping[str, int], host: str = "127.0.0.1") -> list[TakenPort]:
    """The ports (by name) on which a listener cannot be opened."""
    busy = {name: port for name, port in ports.items() if not free(port, host)}
    holders = _holders(set(busy.values())) if busy else {}
    unknown = "another user's process"
    return [TakenPort(name, port, holders.get(port, unknown)) for name, port in busy.items()]


def free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a listener can be opened; connections in TIME_WAIT do not matter."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError:
            return False
    return True


def _holders(ports: set[int]) -> dict[int, str]:
    import psutil

    found: dict[int, str] = {}
    for process in psutil.process_iter():
        try:
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN and each.laddr.port in ports:
                    command = " ".join(process.cmdline())[:100] or process.name()
                    found.setdefault(each.laddr.port, f"pid {process.pid}: {command}")
        except psutil.Error:
            continue
    return found
