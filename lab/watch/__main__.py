"""`python -m lab.watch --port P --lab-dir DIR`: serves the stores' metrics and receives alerts."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from lab import httpd
from lab.state import Lab
from lab.watch.page import Page
from lab.watch.stores import Stores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.watch", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port of /metrics and /alerts")
    parser.add_argument("--lab-dir", type=Path, required=True, help="directory with lab.json")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    options = parser.parse_args()
    asyncio.run(serve(Lab.load(options.lab_dir), options.port, options.host))


async def serve(lab: Lab, port: int, host: str = "127.0.0.1") -> None:
    """Serves until SIGTERM or SIGINT. Raises OSError if the port is in use."""
    stores = Stores(
        lab.addresses["postgres"], lab.addresses["valkey"], lab.addresses["nats_monitoring"]
    )
    server = await httpd.serve(Page(stores, lab.token).answer, port, host)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()
    await stores.close()


if __name__ == "__main__":
    main()
