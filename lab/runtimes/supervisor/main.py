"""The main function of every runtime's supervisor: from its order on stdin to its exit code.

Until it reads `release`, it ends at the end of stdin, so that nothing survives an interrupted `lab up`. It reports
progress on stdout, one JSON object a line:

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

Create = Callable[[dict[str, Any]], Supervisor]


async def run(create: Create) -> int:
    """Read the order, create and run its supervisor until it is stopped; returns the exit code."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return await _supervise(create(json.loads(await reader.readline())), reader)


async def _supervise(supervisor: Supervisor, reader: asyncio.StreamReader) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop.set)
    watching = asyncio.create_task(_stop_unless_released(reader, supervisor.stop))
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
        await asyncio.wait([starting])  # it removes what it has not finished
        return 1
    stopping.cancel()
    try:
        starting.result()
    except StartFailedError as failure:
        supervisor.report({"failed": failure.problems})
        return 1
    supervisor.report({"up": round(time.monotonic() - began, 2)})
    return 0


async def _stop_unless_released(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    if (await reader.readline()).strip() != b"release":
        stop.set()
