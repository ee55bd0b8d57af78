"""Reads each instance's `/metrics` once a second and turns the samples into rows."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote

from lab.recorder.lab_file import Target

BODY_BYTES_MAX = 8 * 1024 * 1024
SERIES_CACHED_MAX = 50_000

# name{labels} value [timestamp]; a label's value may hold any character, a brace too.
SAMPLE = re.compile(r'([A-Za-z_:][\w:]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?)\s+(\S+)')
LABEL = re.compile(r'([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"')
ESCAPED = re.compile(r"\\(.)")


class Scraper:
    """Fetches and formats; keeps only the already formatted part of each series it has met."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._series: dict[str, str] = {}
        self.failures = 0

    async def scrape(self, target: Target, timeout_s: float) -> tuple[bytes, int]:
        """(lines of the metrics table, their number); a dead instance still gives `up` 0."""
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
        for line in text.splitlines():
            known, _, value = line.rpartition(" ")
            series = self._series.get(known)
            if series is None and (sample := SAMPLE.match(line)):
                series, value = self._formatted(sample[1]), sample[2]
            if series:
                lines.append(f"{head}{series}{_number(value)}}}\n")
        return "".join(lines).encode("ascii"), len(lines)

    def _formatted(self, series: str) -> str:
        """The row's `name`, `labels` and the key of its value; "" for what nobody will read."""
        name, _, labels = series.partition("{")
        pairs = ",".join(f"{quote(k)}:{quote(_unescape(v))}" for k, v in LABEL.findall(labels))
        formatted = f'"name":{quote(name)},"labels":{{{pairs}}},"value":'
        if name.endswith("_created"):
            formatted = ""  # when the process first counted: a constant in every scrape
        if len(self._series) < SERIES_CACHED_MAX:
            self._series[series] = formatted
        return formatted


async def scrape_each_second(
    scraper: Scraper,
    targets: Callable[[], list[Target]],
    add: Callable[[bytes, int], object],
    interval_s: float = 1.0,
) -> None:
    """Scrape all targets at once on a fixed beat until cancelled; a slow one misses its beat."""
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
    """GET /metrics by hand: one connection, HTTP/1.0, so that the body simply ends at EOF."""
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


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
