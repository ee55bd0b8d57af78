"""Reads the `/metrics` page of each instance once a second and turns its samples into rows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote

from lab.prometheus_text import split_sample, split_series
from lab.recorder.lab_file import Target

BODY_BYTES_MAX = 8 * 1024 * 1024
SERIES_CACHED_MAX = 50_000


class Scraper:
    """Fetches pages and formats rows; caches the formatted part of each series."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._members: dict[str, str] = {}
        self.failures = 0

    async def scrape(self, target: Target, timeout_s: float) -> tuple[bytes, int]:
        """Returns (lines of the metrics table, their number); an unreachable instance has only `up` 0."""
        try:
            async with asyncio.timeout(timeout_s):
                text = await _get_metrics(target)
        except (OSError, TimeoutError, ValueError, EOFError):
            self.failures += 1
            text = ""
        head = (
            f'{{"time_s":{self._clock():.6f},"service":{quote(target.service)},'
            f'"instance":{quote(target.instance)},'
        )
        lines = [f'{head}"name":"up","labels":{{}},"value":{1 if text else 0}}}\n']
        for line in text.split("\n"):  # a label may contain other line separators
            series, _, value = line.rpartition(" ")
            members = self._members.get(series)
            if members is None and (sample := split_sample(line)):
                series, value = sample
                members = self._format(series)
            if members:
                lines.append(f"{head}{members}{_number(value)}}}\n")
        return "".join(lines).encode("ascii"), len(lines)

    def _format(self, series: str) -> str:
        """The row's `name`, `labels` and the key of its value; "" for a series that is not recorded."""
        name, labels = split_series(series)
        pairs = ",".join(f"{quote(label)}:{quote(text)}" for label, text in labels.items())
        members = f'"name":{quote(name)},"labels":{{{pairs}}},"value":'
        if not name or name.endswith("_created"):
            members = ""  # the start time of a counter is the same in every scrape
        if len(self._members) < SERIES_CACHED_MAX:
            self._members[series] = members
        return members


async def scrape_each_second(
    scraper: Scraper,
    targets: Callable[[], list[Target]],
    add: Callable[[bytes, int], object],
    interval_s: float = 1.0,
) -> None:
    """Scrapes all targets at once, at fixed intervals, until cancelled; a slow target fails its scrape."""
    loop = asyncio.get_running_loop()

    async def one(target: Target) -> None:
        lines, rows = await scraper.scrape(target, 0.9 * interval_s)
        add(lines, rows)

    due = loop.time()
    while True:
        await asyncio.gather(*(one(target) for target in targets()))
        due = max(due + interval_s, loop.time())
        await asyncio.sleep(due - loop.time())


async def _get_metrics(target: Target) -> str:
    """GET /metrics with HTTP/1.0: one connection, and the body ends at EOF."""
    reader, writer = await asyncio.open_connection(target.host, target.port, limit=BODY_BYTES_MAX)
    try:
        host = f"{target.host}:{target.port}"
        writer.write(
            f"GET /metrics HTTP/1.0\r\nHost: {host}\r\nAccept: text/plain\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1] != b"200":
            raise ValueError("answer is not 200")
        body = b""
        while chunk := await reader.read(256 * 1024):
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise ValueError("answer is too large")
        return body.decode("utf-8", "replace")
    finally:
        writer.close()


def _number(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return "null"
    return repr(value) if math.isfinite(value) else "null"
