"""Faults that the container engine applies: off its networks, a CPU limit, a memory limit."""

import os
from collections.abc import Mapping
from typing import Any

from lab.runtimes.compose.engine import Engine

MB = 1_000_000
CPU = 1_000_000_000  # the engine counts billionths of a processor


async def hold(
    engine: Engine, container: str, kind: str, attributes: Mapping[str, float]
) -> dict[str, Any]:
    """Effective on return. Returns the settings to restore and the counters before. Raises EngineRefusedError."""
    found = await engine.inspect(container)
    limits = found["HostConfig"]
    if kind == "disconnect":
        networks = {
            name: network["Aliases"] or []
            for name, network in found["NetworkSettings"]["Networks"].items()
        }
        for name in networks:
            await engine.disconnect(container, name)
        return {"networks": networks, "off": not await _networks(engine, container)}
    if kind == "cpu_limit":
        before = (
            limits["NanoCpus"] or (os.cpu_count() or 1) * CPU
        )  # 0 is no limit, and cannot be set
        throttled = await engine.throttled(container)
        await engine.update(container, {"NanoCpus": round(attributes["cpus"] * CPU)})
        return {"nano_cpus": before, "throttled": throttled}
    limit = round(attributes["limit_mb"] * MB)
    await engine.update(container, {"Memory": limit, "MemorySwap": limit})
    return {"memory": limits["Memory"], "memory_swap": limits["MemorySwap"], "limit": limit}


async def release(
    engine: Engine, container: str, kind: str, held: Mapping[str, Any]
) -> dict[str, Any]:
    """Removed on return. Returns its observed effect. Raises EngineRefusedError."""
    if kind == "disconnect":
        off = not await _networks(engine, container)
        for name, aliases in held["networks"].items():
            await engine.connect(container, name, aliases)
        return {"off_until_the_end": off}
    if kind == "cpu_limit":
        periods = await engine.throttled(container) - held["throttled"]
        await engine.update(container, {"NanoCpus": held["nano_cpus"]})
        return {"throttled_periods": periods}
    used = await engine.memory_bytes(container)
    await engine.update(container, {"Memory": held["memory"], "MemorySwap": held["memory_swap"]})
    return {"used_share": round(used / held["limit"], 3)}


async def _networks(engine: Engine, container: str) -> dict[str, Any]:
    networks: dict[str, Any] = (await engine.inspect(container))["NetworkSettings"]["Networks"]
    return networks
