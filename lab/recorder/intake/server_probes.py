"""Probes each server of the lab (stores, nginx, mail, observers) twice a second: does it answer?"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as quote

from lab.recorder.lab_file import Target

INTERVAL_S = 0.5
ANSWER_S = 0.9
# One small request for each; any first byte of an answer counts. NATS speaks first.
# PostgreSQL: SSLRequest (Frontend/Backend Protocol, "Message Formats"), answered S or N by a new backend.
REQUESTS = {
    "postgres": struct.pack("!ii", 8, 80877103),
    "valkey": b"PING\r\n",
    "nats": b"",
    # msgpack ["lab", [], {"chunk": "none"}]: no events, acknowledged (Forward Protocol Specification v1)
    "fluentd": b"\x93\xa3lab\x90\x81\xa5chunk\xa4none",
}
HTTP = b"GET /health HTTP/1.0\r\n\r\n"
# refused: no listener, or it closed the connection; silent: no answer within ANSWER_S
ANSWERED, REFUSED, SILENT = "answered", "refused", "silent"
Servers = Callable[[], Mapping[str, Target]]


class ServerProbes:
    """Writes a row `probe_success` (1 or 0, with its `outcome`) for each probe of each server in lab.json.

    A killed or disconnected server refuses, and a stopped one does not answer within ANSWER_S: so the archive
    shows the absence of servers, which have no `/metrics`, by another program than the one that caused it.
    """

    def __init__(
        self, servers: Servers, add: Callable[[bytes, int], object], clock: Callable[[], float]
    ) -> None:
        self._servers = servers
        self._add = add
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled. A slow server delays only its own probes."""
        probing: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for name in self._servers():
                    if name not in probing or probing[name].done():
                        probing[name] = asyncio.create_task(self._probe(name))
                await asyncio.sleep(INTERVAL_S)
        finally:
            for task in probing.values():
                task.cancel()

    async def _probe(self, name: str) -> None:
        server = self._servers().get(name)
        if server is None:
            return
        outcome = await probe(server.host, server.port, REQUESTS.get(name, HTTP))
        row = f'{{"time_s":{self._clock():.6f},"service":{quote(name)},"instance":{quote(name)},'
        row += f'"name":"probe_success","labels":{{"outcome":"{outcome}"}},'
        row += f'"value":{int(outcome == ANSWERED)}}}\n'
        self._add(row.encode("ascii"), 1)


async def probe(host: str, port: int, request: bytes, within_s: float = ANSWER_S) -> str:
    """Whether a new connection gets the first byte of an answer in time."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                return ANSWERED if await reader.read(1) else REFUSED
            finally:
                writer.close()
    except TimeoutError:
        return SILENT
    except OSError:
        return REFUSED
