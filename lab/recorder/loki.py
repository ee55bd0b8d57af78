"""The part of Loki's query API that Grafana needs to show the log lines of a trace.

Grafana links a span to logs only in a log store that it supports. The recorder has the lines, so it answers two
queries: `{...} |= "<trace id>"`, and the health check. It supports no other LogQL.
https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

from lab.recorder.trace_logs import time_of

ROOT = "/loki/api/v1/"
OF_TRACE = re.compile(r"""^\s*\{[^{}]*\}\s*\|=\s*["`]([0-9a-fA-F]{32})["`]\s*$""")
HEALTH = re.compile(r"^\s*vector\(1\)\s*\+\s*vector\(1\)\s*$")
COUNTED = re.compile(r"(count_over_time|rate)\s*\(")
LABELS = ("instance", "level", "service")


def trace_id_of(query: str) -> str:
    """Returns the trace id of a log query. Raises ValueError for any other query."""
    found = OF_TRACE.match(query)
    if found is None:
        raise ValueError(f'query {query!r}: only {{lab="breakwater"}} |= "<trace id>" is supported')
    return found[1].lower()


def streams(records: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Builds the answer to a log query: the newest `limit` of `records`, grouped by labels.

    `records` are sorted oldest first; each stream of the answer is sorted newest first.
    """
    found: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for record in reversed(records[-limit:]):
        labels = tuple(str(record.get(name, "")) for name in LABELS)
        at_ns = round(time_of(record) * 1e6) * 1000  # microseconds: a float is not more precise
        found[labels].append([str(at_ns), json.dumps(record, default=str)])
    result = [
        {"stream": dict(zip(LABELS, labels, strict=True)), "values": values}
        for labels, values in found.items()
    ]
    return answer("streams", result)


def answer_other_query(query: str, now_s: float) -> dict[str, Any] | None:
    """Answers Grafana's health check and its counts of lines (always empty); None for a log query."""
    if HEALTH.match(query):
        return answer("vector", [{"metric": {}, "value": [now_s, "2"]}])
    if COUNTED.search(query):
        return answer("matrix", [])
    return None


def answer(kind: str, result: list[Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result, "stats": {}}}
