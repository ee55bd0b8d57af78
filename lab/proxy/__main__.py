"""The server's command line: `python -m lab.proxy --port 8474`."""

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import importlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lab.proxy.api.routes import VERSION
from lab.proxy.deviations import OURS, STRICT
from lab.proxy.errors import ApiError
from lab.proxy.server import Server, Settings

USAGE_ERROR = 2
NICENESS = -10


def parser() -> argparse.ArgumentParser:
    """Accepts each option with one dash too, as Toxiproxy spells it."""
    options = argparse.ArgumentParser(
        prog="python -m lab.proxy", description="A TCP fault proxy with Toxiproxy's HTTP API."
    )
    add = options.add_argument
    add("--host", "-host", default="localhost", help="address of the API (default: localhost)")
    add("--port", "-port", type=int, default=8474, help="port of the API; 0 selects a free port")
    add("--config", "-config", type=Path, help="JSON file with proxies to create at start")
    add(
        "--seed",
        "-seed",
        type=int,
        help="seed of all random decisions (default: drawn, and printed)",
    )
    add(
        "--strict", action="store_true", help="behave as Toxiproxy does wherever this proxy differs"
    )
    add("--token-file", type=Path, help="require `Authorization: Bearer <token>` on API calls")
    add(
        "--log-faults",
        action="store_true",
        help="print a JSON line on stdout when a fault starts or ends",
    )
    add("--expose", action="store_true", help="allow listening on addresses other than loopback")
    add("--version", "-version", action="version", version=f"Toxiproxy API {VERSION}")
    # Toxiproxy's switches for metrics, which are always on here
    add("-proxy-metrics", "-runtime-metrics", action="store_true", help=argparse.SUPPRESS)
    return options


def settings(arguments: argparse.Namespace) -> Settings:
    """Reads the token file and the configuration file; raises OSError or ValueError."""
    deviations = STRICT if arguments.strict else OURS
    if arguments.expose:
        deviations = dataclasses.replace(deviations, loopback_only=False)
    token = None
    if arguments.token_file is not None:
        token = arguments.token_file.read_text().strip()
        if not token:
            raise ValueError(f"{arguments.token_file} is empty: it must contain the token")
    if not 0 <= arguments.port <= 65535:
        raise ValueError(f"--port {arguments.port} is not between 0 and 65535")
    return Settings(
        seed=arguments.seed if arguments.seed is not None else secrets.randbits(31),
        host=arguments.host,
        port=arguments.port,
        deviations=deviations,
        token=token,
        config=arguments.config.read_bytes() if arguments.config is not None else None,
        log_faults=arguments.log_faults,
    )


async def serve(chosen: Settings) -> None:
    """Runs until SIGTERM or SIGINT; prints the address of the API as the first line on stdout."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = Server(chosen)
    try:
        await server.start()
        gc.collect()
        gc.freeze()  # these objects stay for ever: later collections need not scan them
        ready = {"api": server.address, "seed": chosen.seed, "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
        await stopping.wait()
    finally:
        await server.close()


def raise_file_limit() -> None:
    """Raises the soft limit (usually 1,024): each connection uses two file descriptors."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def raise_priority() -> None:
    """Raises the process priority where the system allows it (as root).

    A delay is exact to the millisecond only if the process gets a processor within that millisecond.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's if it is installed (it is faster), else asyncio's."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
            "uvloop"
        ).new_event_loop
    except ImportError:
        factory = asyncio.SelectorEventLoop
    return factory


def main() -> int:
    arguments = parser().parse_args()
    try:
        chosen = settings(arguments)
    except (OSError, ValueError) as error:
        print(f"lab.proxy: {error}", file=sys.stderr)
        return USAGE_ERROR
    raise_file_limit()
    raise_priority()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(serve(chosen))
    except ApiError as error:
        print(f"lab.proxy: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
