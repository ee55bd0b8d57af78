"""A scraped page becomes one row for each sample, whatever characters its labels contain."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lab.recorder.intake.scraper import Scraper
from lab.recorder.lab_file import Target


async def scraped(page: str) -> list[dict[str, Any]]:
    """The rows of the second scrape, when each series is known."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + page.encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scraper = Scraper(lambda: 1.0)
    async with server:
        for _ in range(2):
            lines, count = await scraper.scrape(Target("orders", "orders-1", "127.0.0.1", port), 10)
    rows = [json.loads(line) for line in lines.split(b"\n") if line]
    assert len(rows) == count
    return rows


@pytest.mark.parametrize(
    ("line", "name", "labels", "value"),
    [
        ('x{a="one\u2028two\u0085three\x0bfour"} 2', "x", "one\u2028two\u0085three\x0bfour", 2.0),
        ('x{a="b"}2', "x", "b", 2.0),
        ('x {a="b c"}2', "x", "b c", 2.0),
        ('x{ a = "b", } 2', "x", "b", 2.0),
        ('{"x.y", a="b"} 2 1700000000', "x.y", "b", 2.0),
        ('x{"a"="b"} 2\r', "x", "b", 2.0),
        ('x{a="b"} NaN', "x", "b", None),
    ],
)
async def test_a_line_is_one_row(line: str, name: str, labels: str, value: float | None) -> None:
    up, row = await scraped(f"# HELP x text\n{line}\n\n")
    assert (up["name"], up["value"]) == ("up", 1)
    assert (row["name"], row["labels"], row["value"]) == (name, {"a": labels}, value)


async def test_a_line_that_is_no_sample_is_no_row() -> None:
    rows = await scraped('x\n{} 1\n{"a"="b"} 1\nx{a="b 1\nx_created 1\ny 1\n')
    assert [row["name"] for row in rows] == ["up", "y"]
