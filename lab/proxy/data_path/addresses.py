"""Addresses in Toxiproxy's notation: split, resolve, listen, connect."""

import asyncio
import contextlib
import os
import re
import socket
from ipaddress import ip_address

from lab.proxy.data_path.names import Address, Names, Resolved
from lab.proxy.errors import CannotListenError, NotLoopbackError

BACKLOG = 4096
PORT_MAX = 65535
LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # the keys: all addresses
NUMBER = re.compile(r"[+-]?[0-9]+")


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


def port_number(port: str) -> int:
    """The port's number, also of a service's name; "" is 0. Raises CannotListenError with Go's text."""
    if not port:
        return 0
    if not NUMBER.fullmatch(port):
        try:
            return socket.getservbyname(port, "tcp")
        except (OSError, UnicodeError):
            raise CannotListenError(f"lookup tcp/{port}: unknown port") from None
    if not 0 <= int(port) <= PORT_MAX:
        raise CannotListenError(f"address {port}: invalid port")
    return int(port)


async def resolve(address: str, names: Names, *, loopback_only: bool) -> Resolved:
    """Resolves a listen address, preferring IPv4. Raises CannotListenError.

    With `loopback_only`, "all addresses" (no host, 0.0.0.0, ::) becomes loopback, because it is the
    default of many clients; any other address that is not loopback raises NotLoopbackError. Without
    it, "all addresses" is IPv6 and IPv4 where the machine has both, as in Go.
    """
    host, port = split_host_port(address)
    number = port_number(port)
    if host in LOOPBACK_OF:
        if not loopback_only:
            if socket.has_dualstack_ipv6():
                return socket.AF_INET6, ("::", number, 0, 0)
            return socket.AF_INET, ("0.0.0.0", number)
        host = LOOPBACK_OF[host]
    try:
        family, sockaddr = (await names.resolve(host, str(number)))[0]
    except OSError as error:
        raise CannotListenError(f"lookup {address}: {_reason(error)}") from None
    if loopback_only and not ip_address(str(sockaddr[0]).partition("%")[0]).is_loopback:
        raise NotLoopbackError(str(sockaddr[0]))
    return family, sockaddr


def listen(family: int, address: Address) -> socket.socket:
    """Binds and listens; raises CannotListenError with Go's text (`listen tcp ...: bind: ...`)."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        text = f"listen tcp {join_host_port(address)}: bind: {_reason(error)}"
        raise CannotListenError(text) from None
    return sock


async def dial(address: str, names: Names) -> socket.socket:
    """Connects to the first resolved address that accepts; raises OSError."""
    try:
        host, port = split_host_port(address)
        number = port_number(port)
    except CannotListenError as error:
        raise OSError(error.message) from None
    loop = asyncio.get_running_loop()
    last: OSError = OSError(f"no address for {address}")
    host = host or "127.0.0.1"
    for family, sockaddr in await _candidates(host, number, names):
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
    names.forget(host, str(number))
    raise last


async def _candidates(host: str, port: int, names: Names) -> list[Resolved]:
    with contextlib.suppress(OSError):  # an IP address needs no resolver and no thread
        socket.inet_pton(socket.AF_INET, host)
        return [(socket.AF_INET, (host, port))]
    return await names.resolve(host, str(port))


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host" if error.errno == socket.EAI_NONAME else str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
