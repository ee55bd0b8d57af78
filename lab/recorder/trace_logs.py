"""Finds the log lines of one trace and shows them as a page; Jaeger and Grafana link to it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from time import gmtime, strftime
from typing import Any

from lab.json_text import parse

TRACE_ID = re.compile(r"[0-9a-f]{32}")
NEWEST_BYTES = 8 * 1024 * 1024  # of each file: minutes of a busy service
SHOWN = ("time", "level", "service", "instance", "message")
LEFT_OUT = (*SHOWN, "arm", "trace_id", "span_id")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log lines of trace {trace_id}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; }}
td:first-child, td:last-child {{ font: 13px/1.7 ui-monospace, monospace; }}
td:not(:last-child) {{ white-space: nowrap; }} td:last-child {{ overflow-wrap: anywhere; }}
.warning, .error {{ color: #a40000; }}
</style></head><body><h1>Log lines of one trace</h1>
<p><code>{trace_id}</code>{jaeger}. {count}</p>
<table><tr><th>UTC</th><th>level</th><th>instance</th><th>message</th><th>fields</th></tr>{rows}</table>
</body></html>
"""


def records_of(folder: Path, trace_id: str) -> list[dict[str, Any]]:
    """Returns the records with this trace id, oldest first, from the end of each `*.jsonl` of `folder`."""
    found = [
        record
        for path in sorted(folder.glob("*.jsonl"))
        for record in _matching(path, trace_id.encode())
        if record.get("trace_id") == trace_id
    ]
    return sorted(found, key=time_of)


def page(trace_id: str, records: list[dict[str, Any]], jaeger: str) -> str:
    """Builds the HTML page; `jaeger` is the address of Jaeger's page, "" if the lab has no Jaeger."""
    link = (
        f', <a href="{escape(jaeger)}/trace/{trace_id}">its spans in Jaeger</a>' if jaeger else ""
    )
    count = (
        f"{len(records)} lines"
        if records
        else "No line has it: the trace may be old, or the id wrong."
    )
    rows = "".join(map(_row, records))
    return PAGE.format(trace_id=trace_id, jaeger=link, count=count, rows=rows)


def _matching(path: Path, needle: bytes) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - NEWEST_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return  # renamed a moment ago
    for line in lines:
        if needle in line:
            try:
                record = parse(line)
            except ValueError:
                continue  # an incomplete line, or a line of a server that is not JSON
            if isinstance(record, dict):
                yield record


def time_of(record: dict[str, Any]) -> float:
    """Unix seconds; 0 for a record without a time."""
    time_s = record.get("time")
    return float(time_s) if isinstance(time_s, int | float) else 0.0


def _row(record: dict[str, Any]) -> str:
    time_s, level = time_of(record), str(record.get("level", ""))
    at = strftime("%H:%M:%S", gmtime(time_s)) + f"{time_s % 1:.3f}"[1:]
    fields = {name: value for name, value in record.items() if name not in LEFT_OUT}
    words = [at, level, str(record.get("instance", "")), str(record.get("message", ""))]
    words.append(json.dumps(fields, default=str) if fields else "")
    cells = "".join(f"<td>{escape(word)}</td>" for word in words)
    return f'<tr class="{escape(level)}">{cells}</tr>'
