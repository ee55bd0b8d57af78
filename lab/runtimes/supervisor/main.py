"""A supervisor's life, in any runtime: from its order on stdin to its exit code.

Until `release` follows there, the end of stdin is its own end, so that nothing survives a `lab up` that was
interrupted. Progress is told on stdout, a JSON object a line:

    {"name": "orders-1", "state": "ready", "after_s": 1.2}
    {"up": seconds} | {"failed": [problem, ...]}
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from lab import httpd
from lab.runtimes.supervisor.api import ControlApi
from lab.runtimes.supervisor.base import StartFailedError, Supervisor

Made = Callable[[dict[str, Any]], Supervisor]


async def live(made: Made) -> int:
    """Read the order, make its supervisor, keep it up until told to stop; the exit code."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return await _keep_up(made(json.loads(await reader.readline())), reader)


async def _keep_up(supervisor: Supervisor, reader: asyncio.StreamReader) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop.set)
    watching = asyncio.create_task(_until_released(reader, supervisor.stop))
    port = supervisor.topology.ports(supervisor.lab.port_base)["control"]
    control = await httpd.serve(ControlApi(supervisor).answer, port)
    code = await _bring_up(supervisor)
    if code == 0:
        await supervisor.stop.wait()
    supervisor.log("info", "going down")
    watching.cancel()
    control.close()
    await supervisor.shut_down()
    return code


async def _bring_up(supervisor: Supervisor) -> int:
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(supervisor.stop.wait())
    began = time.monotonic()
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return 1
    stopping.cancel()
    try:
        starting.result()
    except StartFailedError as failure:
        supervisor.tell({"failed": failure.problems})
        return 1
    supervisor.tell({"up": round(time.monotonic() - began, 2)})
    return 0


async def _until_released(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    if (await reader.readline()).strip() != b"release":
        stop.set()
