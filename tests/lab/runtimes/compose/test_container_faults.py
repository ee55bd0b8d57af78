"""Faults that a real container engine applies: measured from outside, and removed at their TTL.

Skipped where no engine answers, or none has the shop's image (`lab up --runtime compose` builds it).
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from lab.runtimes.compose.compose_cli import EngineError, endpoint
from lab.runtimes.compose.container import Container
from lab.runtimes.compose.engine import Engine
from lab.runtimes.supervisor.managed_process import ProcessSpec
from lab.runtimes.supervisor.process_faults import ProcessFault, ProcessFaultError, ProcessFaults
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until_async
from tests.lab.runtimes.compose.containers import IMAGE, docker, needs_the_image

PORT = 8000
BUSY = "while True: pass"
SERVE = (
    f"from http.server import *; HTTPServer(('', {PORT}), SimpleHTTPRequestHandler).serve_forever()"
)
GROW = "import time; time.sleep(2); kept = b'x' * 60_000_000; time.sleep(60)"

pytestmark = needs_the_image


async def _never(_on_exit: object) -> int:
    raise AssertionError("the engine starts it, not we")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    try:
        made = Engine(endpoint())
    except EngineError as error:
        pytest.skip(str(error))
    yield made
    await made.close()


class Held:
    """One container of the test, and its faults."""

    def __init__(self, engine: Engine, container: str, tmp_path: Path) -> None:
        self.engine, self.container = engine, container
        spec = ProcessSpec(
            "held-1", "service", PORT, tmp_path / "log", _never, partial(engine.healthy, container)
        )
        self.process = Container(spec, container, engine, lambda _process: None)
        self.phases: list[tuple[str, str]] = []
        self.faults = ProcessFaults(lambda fault, phase: self.phases.append((fault.kind, phase)))

    async def add(self, kind: str, ttl_s: float, **attributes: float) -> ProcessFault:
        spec = {"kind": kind, "ttl_s": ttl_s, "attributes": attributes}
        (fault,) = await self.faults.add(spec, [self.process])
        return fault

    async def cpu_share(self, seconds: float) -> float:
        """Of one processor, by the host's own accounts."""
        process = psutil.Process(self.process.pid)
        family = [process, *process.children(recursive=True)]
        before, began = sum(sum(each.cpu_times()[:2]) for each in family), time.monotonic()
        await asyncio.sleep(seconds)  # the span of the measurement
        after = sum(sum(each.cpu_times()[:2]) for each in family)
        return (after - before) / (time.monotonic() - began)


@pytest.fixture
async def held(
    engine: Engine, network: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Held]:
    options = ["--memory", "128m", "--memory-swap", "256m", "--cpus", "1.5", "--init"]
    # a fixed port: a port that the engine chooses changes after a reconnection
    options += ["--network", network, "--publish", f"127.0.0.1:{free_port()}:{PORT}"]
    options += ["--entrypoint", "python"]
    container = docker("run", "--detach", *options, IMAGE, "-c", request.param)
    try:
        found = Held(engine, container, tmp_path)
        await found.process.refresh()
        yield found
    finally:
        docker("rm", "--force", container)


@pytest.mark.alone
@pytest.mark.parametrize("held", [BUSY], indirect=True)
async def test_a_cpu_limit_is_the_kernels_quota_and_ends_at_its_ttl(held: Held) -> None:
    assert await held.cpu_share(0.5) > 0.5
    fault = await held.add("cpu_limit", 2.0, cpus=0.1)
    assert await held.cpu_share(1.5) < 0.2
    await removed(fault)
    assert fault.removed_s is not None
    assert await held.cpu_share(0.5) > 0.5
    assert (await held.engine.inspect(held.container))["HostConfig"]["NanoCpus"] == 1_500_000_000
    assert held.phases == [(fault.kind, each) for each in ("commanded", "effective", "removed")]


@pytest.mark.parametrize("held", [GROW], indirect=True)
async def test_a_process_above_its_memory_limit_is_killed_by_the_kernel(held: Held) -> None:
    fault = await held.add("memory_limit", 5.0, limit_mb=40)
    await wait_until_async(lambda: stopped(held), "the kernel ends it")
    assert (await held.engine.inspect(held.container))["State"]["ExitCode"] == 137
    await removed(fault)
    limits = (await held.engine.inspect(held.container))["HostConfig"]
    assert (limits["Memory"], limits["MemorySwap"]) == (128 * 2**20, 256 * 2**20)


@pytest.mark.parametrize("held", [SERVE], indirect=True)
async def test_a_disconnected_container_is_unreachable_until_the_ttl(held: Held) -> None:
    port = int(docker("port", held.container, str(PORT)).rpartition(":")[2])

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", port), 1) as peer:
            peer.settimeout(1)
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return peer.recv(1)

    async def is_reachable() -> bool:
        try:
            return bool(ask())
        except OSError:
            return False

    await wait_until_async(is_reachable, "it serves")
    aliases = await names(held)
    fault = await held.add("disconnect", 2.0)
    assert not (await held.engine.inspect(held.container))["NetworkSettings"]["Networks"]
    assert not await is_reachable()
    await removed(fault)
    await wait_until_async(is_reachable, "it is back")
    assert await names(held) == aliases
    assert held.phases == [(fault.kind, each) for each in ("commanded", "effective", "removed")]


@pytest.mark.parametrize("held", [BUSY], indirect=True)
async def test_a_fault_that_ends_while_the_engine_applies_it_is_removed(held: Held) -> None:
    fault = await held.add("cpu_limit", 0.0001, cpus=0.1)
    await removed(fault)
    assert (await held.engine.inspect(held.container))["HostConfig"]["NanoCpus"] == 1_500_000_000
    assert held.faults.armed == []


@pytest.mark.parametrize("held", [BUSY], indirect=True)
async def test_a_refusal_of_the_engine_ends_the_fault(held: Held) -> None:
    with pytest.raises(ProcessFaultError, match="CPUs"):
        await held.add("cpu_limit", 5.0, cpus=10_000)
    assert held.faults.armed == []


async def names(held: Held) -> set[str]:
    networks = (await held.engine.inspect(held.container))["NetworkSettings"]["Networks"]
    return {alias for network in networks.values() for alias in network["Aliases"] or []}


async def stopped(held: Held) -> bool:
    return not (await held.engine.inspect(held.container))["State"]["Running"]


async def removed(fault: ProcessFault) -> None:
    async def over() -> bool:
        return fault.removed_s is not None

    await wait_until_async(over, "the fault is over")
