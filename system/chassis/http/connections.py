"""The connections of a process to the other services: one aiohttp session."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp

# Of one connect. A live host answers within milliseconds, a dead one not at all. It is shorter than the attempt's
# timeout: the client then knows that nothing was sent, and has time to call another instance.
CONNECT_S = 0.25
CONNECTIONS_PER_HOST = 100
IDLE_S = (
    30  # shorter than the server's: it must not close a connection while a request is on its way
)
ANSWER_S = 30.0  # the policies bound each call; this is the limit for the profile `none`

Answer = tuple[int, Mapping[str, str], bytes]  # status, headers (names in any case), content


class NotConnectedError(OSError):
    """No connection, so nothing was sent."""


class Connections:
    """The connections of one process, by address. `opened` is called with the peer of each new one."""

    def __init__(self, opened: Callable[[str], None] = lambda peer: None) -> None:
        async def count(_: object, context: SimpleNamespace, __: object) -> None:
            opened(context.trace_request_ctx)

        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(count)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=CONNECTIONS_PER_HOST, keepalive_timeout=IDLE_S
            ),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[tracing],
        )

    async def request(
        self, peer: str, address: str, method: str, path: str,
        headers: Mapping[str, str], content: bytes | None = None, params: Any = None,
    ) -> Answer:  # fmt: skip
        """Send one request to the instance `peer` at `address` (host:port) and return its answer.

        Raises NotConnectedError if nothing was sent, ConnectionError or TimeoutError if the request may have
        arrived. A GET is sent again if a kept connection ended without an answer.
        """
        try:
            async with self._session.request(
                method, f"http://{address}{path}", params=params, data=content, headers=headers,
                allow_redirects=False, trace_request_ctx=peer,
            ) as answer:  # fmt: skip
                return answer.status, answer.headers, await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnectedError(str(error)) from error
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections. Requests in progress fail."""
        await self._session.close()
