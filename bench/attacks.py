"""Attacks of customers on a lab, and what the other customers feel: refused requests and p95, before and during.

    python bench/attacks.py [cursor] [passwords] [--port-base 8080] [--seconds 30] [--json]

It needs a running lab (`lab up`), which it does not change. `cursor`: ten forged cursors a second. `passwords`:
200 connections that log in with wrong passwords. The others read a page, /api/me and their orders, and place
orders, each at a steady pace. Exit 1 if one of them is refused during an attack, or its p95 is more than 1.5 times
the one before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from lab.chaos.probe_customer import CARD, EMAIL  # noqa: E402
from lab.chaos.running_lab import find_lab  # noqa: E402
from lab.load.accounts import PASSWORD  # noqa: E402
from lab.state import PORT_BASE, NoLabError  # noqa: E402

RATIO_MAX = 1.5
CONNECTIONS = 200
FORGED = "WyJcdTAwMDAiXQ"  # a JSON list with one NUL character
PACE_S = {"page": 0.1, "me": 0.2, "list": 0.2, "order": 0.25}
Attack = Callable[[aiohttp.ClientSession, str, str, float], Awaitable[int]]


async def others(http: aiohttp.ClientSession, shop: str, token: str, until_s: float) -> list[Any]:
    """(journey, seconds, refused) of each request of the other customers, sent at a steady pace."""
    headers = {"Authorization": f"Bearer {token}"}
    order = {"lines": [{"sku": "SKU-0042", "quantity": 1}], "payment": {"card_number": CARD}}
    requests: dict[str, Callable[[], Any]] = {
        "page": lambda: http.get(f"{shop}/products/SKU-0001"),
        "me": lambda: http.get(f"{shop}/me", headers=headers),
        "list": lambda: http.get(f"{shop}/orders", headers=headers),
        "order": lambda: http.post(
            f"{shop}/orders",
            json=order,
            headers=headers | {"Idempotency-Key": secrets.token_hex(8)},
        ),
    }
    found: list[Any] = []

    async def one(journey: str) -> None:
        started = time.perf_counter()
        async with requests[journey]() as answer:
            await answer.read()
        found.append((journey, time.perf_counter() - started, answer.status >= 400))

    async def paced(journey: str) -> None:
        running = set()
        while time.monotonic() < until_s:
            running.add(asyncio.create_task(one(journey)))
            await asyncio.sleep(PACE_S[journey])
        await asyncio.wait(running)

    await asyncio.gather(*(paced(journey) for journey in requests))
    return found


async def forge_cursors(http: aiohttp.ClientSession, shop: str, token: str, until_s: float) -> int:
    headers, sent = {"Authorization": f"Bearer {token}"}, 0
    while time.monotonic() < until_s:
        async with http.get(f"{shop}/orders?cursor={FORGED}", headers=headers):
            sent += 1
        await asyncio.sleep(0.1)
    return sent


async def guess_passwords(_: aiohttp.ClientSession, shop: str, __: str, until_s: float) -> int:
    sent = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as many:

        async def guess() -> None:
            nonlocal sent
            while time.monotonic() < until_s:
                body = {"email": EMAIL, "password": "wrong-" + secrets.token_hex(4)}
                try:
                    async with asyncio.timeout(max(0.1, until_s - time.monotonic())):
                        async with many.post(f"{shop}/login", json=body):
                            sent += 1
                except TimeoutError:
                    return

        await asyncio.gather(*(guess() for _ in range(CONNECTIONS)))
    return sent


ATTACKS: dict[str, Attack] = {"cursor": forge_cursors, "passwords": guess_passwords}


def summary(found: list[Any]) -> dict[str, dict[str, float]]:
    journeys: dict[str, dict[str, float]] = {}
    for journey in PACE_S:
        seconds = sorted(each[1] for each in found if each[0] == journey)
        journeys[journey] = {
            "requests": len(seconds),
            "refused": sum(each[2] for each in found if each[0] == journey),
            "p95_ms": round(seconds[int(0.95 * len(seconds))] * 1e3, 1),
        }
    return journeys


async def measure(shop: str, names: list[str], seconds: float) -> dict[str, Any]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        async with http.post(
            f"{shop}/login", json={"email": EMAIL, "password": PASSWORD}
        ) as answer:
            token = (await answer.json())["access_token"]
        await others(http, shop, token, time.monotonic() + 3)  # warm-up
        results: dict[str, Any] = {}
        for name in names:
            before = await others(http, shop, token, time.monotonic() + seconds)
            until_s = time.monotonic() + seconds
            during, sent = await asyncio.gather(
                others(http, shop, token, until_s), ATTACKS[name](http, shop, token, until_s)
            )
            results[name] = {"sent": sent, "before": summary(before), "during": summary(during)}
    return results


def problems(results: dict[str, Any]) -> list[str]:
    found = []
    for name, each in results.items():
        for journey, during in each["during"].items():
            ratio = during["p95_ms"] / each["before"][journey]["p95_ms"]
            if during["refused"]:
                found.append(
                    f"{name}: {journey}: {during['refused']} of {during['requests']} refused"
                )
            if ratio > RATIO_MAX:
                found.append(f"{name}: {journey}: p95 {ratio:.2f} times the one before")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="ATTACK", help="cursor, passwords; all by default"
    )
    parser.add_argument("--port-base", type=int, default=PORT_BASE)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in ATTACKS]
    if unknown:
        parser.error(f"unknown attack {unknown[0]}; expected one of {', '.join(ATTACKS)}")
    try:
        shop = find_lab(options.port_base).state.addresses["ingress"] + "/api"
    except NoLabError as error:
        print(error, file=sys.stderr)
        return 2
    results = asyncio.run(measure(shop, options.names or list(ATTACKS), options.seconds))
    print(json.dumps(results, indent=None if options.json else 2))
    found = problems(results)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
