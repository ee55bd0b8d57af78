"""Addresses in Toxiproxy's notation: split, resolve, listen, connect."""

import asyncio
import contextlib
import os
import socket
from ipaddress import ip_address
from typing import Any

from lab.proxy.errors import CannotListenError, NotLoopbackError

BACKLOG = 4096
PORT_MAX = 65535
LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
Address = tuple[Any, ...]  # a `socket` address: (host, port), four items for IPv6
Resolved = tuple[int, Address]  # address family and socket address


def split_host_port(address: str) -> tuple[str, str]:
    """Splits `host:port`, `[v6]:port` or `:port`; raises CannotListenError with Go's text."""
    host, colon, port = address.rpartition(":")
    if not colon:
        raise CannotListenError(f"listen tcp: address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    if ":" in host:
        raise CannotListenError(f"listen tcp: address {address}: too many colons in address")
    return host, port


def join_host_port(address: Address) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(address: str, *, loopback_only: bool) -> Resolved:
    """Resolves a listen address, preferring IPv4. Raises CannotListenError.

    With `loopback_only`, "all addresses" (no host, 0.0.0.0, ::) becomes loopback, because it is the
    default of many clients; any other address that is not loopback raises NotLoopbackError.
    """
    host, port = split_host_port(address)
    if loopback_only:
        host = LOOPBACK_OF.get(host, host)
    if port and not port.isascii():
        raise CannotListenError(f"lookup tcp/{port}: unknown port")
    if port.isdigit() and int(port) > PORT_MAX:
        raise CannotListenError(f"address {port}: invalid port")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host or None, port or "0", type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise CannotListenError(f"lookup {address}: {_reason(error)}") from None
    family, _, _, _, sockaddr = min(found, key=lambda info: info[0] != socket.AF_INET)
    if loopback_only and not ip_address(str(sockaddr[0]).partition("%")[0]).is_loopback:
        raise NotLoopbackError(str(sockaddr[0]))
    return family, sockaddr


def listen(family: int, address: Address) -> socket.socket:
    """Binds and listens; raises CannotListenError with Go's text (`listen tcp ...: bind: ...`)."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        text = f"listen tcp {join_host_port(address)}: bind: {_reason(error)}"
        raise CannotListenError(text) from None
    return sock


async def dial(address: str) -> socket.socket:
    """Connects to the first resolved address that accepts; raises OSError."""
    try:
        host, port = split_host_port(address)
    except CannotListenError as error:
        raise OSError(error.message) from None
    if port.isdigit() and int(port) > PORT_MAX:
        raise OSError(f"address {port}: invalid port")
    loop = asyncio.get_running_loop()
    last: OSError = OSError(f"no address for {address}")
    for family, sockaddr in await _candidates(host or "127.0.0.1", port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, sockaddr)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def _candidates(host: str, port: str) -> list[Resolved]:
    if port.isascii() and port.isdigit():
        with contextlib.suppress(OSError):  # an IP address needs no resolver and no thread
            socket.inet_pton(socket.AF_INET, host)
            return [(socket.AF_INET, (host, int(port)))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError) as error:
        raise OSError(str(error)) from None
    return sorted(
        ((info[0], info[4]) for info in found), key=lambda found: found[0] != socket.AF_INET
    )


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
