"""Reads spans from a Jaeger through its API v3, which answers in OTLP, as rows of the spans table."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from lab.archive.errors import ArchiveError
from lab.otlp.spans import lines_from_json
from lab.otlp.values import OtlpError

TRACES_A_PAGE = 1000
PAGE_S_MIN = 0.001  # a shorter window is not halved: only the traces of its one page are read
TIMEOUT_S = 30.0
JAEGER_PREFIX = "@jaeger@"
ID_BYTES = 80  # each line starts with the trace id and the span id, in this many bytes


def span_lines(
    url: str, start_s: float, end_s: float, services: Sequence[str] | None
) -> Iterator[bytes]:
    """Rows of the spans table as JSON lines, each span once. Raises ArchiveError.

    A trace is complete if one of the services took part in it within the window.
    """
    seen: set[bytes] = set()
    try:
        for service in services if services is not None else _services(url):
            for page in _pages(url, service, start_s, end_s):
                for line in _lines(page):
                    if line[:ID_BYTES] not in seen:
                        seen.add(line[:ID_BYTES])
                        yield line
    except (OtlpError, AttributeError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"Jaeger at {url} sent an answer that is not OTLP: {error!s:.300}"
        ) from None


def _lines(page: dict[str, Any]) -> list[bytes]:
    body = json.dumps(_without_jaeger_attributes(page)).encode()
    return lines_from_json(body)[0].splitlines(keepends=True)


def _pages(url: str, service: str, start_s: float, end_s: float) -> Iterator[dict[str, Any]]:
    """The traces of a window. A window with more traces than one page is read in halves."""
    query = {
        "query.service_name": service,
        "query.start_time_min": _rfc3339(start_s),
        "query.start_time_max": _rfc3339(end_s),
        "query.num_traces": str(TRACES_A_PAGE),
    }
    page = _get(f"{url}/api/v3/traces?{urllib.parse.urlencode(query)}").get("result", {})
    if _traces(page) >= TRACES_A_PAGE and end_s - start_s > PAGE_S_MIN:
        middle_s = (start_s + end_s) / 2
        yield from _pages(url, service, start_s, middle_s)
        yield from _pages(url, service, middle_s, end_s)
    else:
        yield page


def _services(url: str) -> list[str]:
    return sorted(_get(f"{url}/api/v3/services").get("services", []))


def _traces(page: dict[str, Any]) -> int:
    return len({span["traceId"] for span in _spans(page)})


def _spans(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in page.get("resourceSpans", []):
        for scope in group.get("scopeSpans", []):
            yield from scope.get("spans", [])


def _without_jaeger_attributes(page: dict[str, Any]) -> dict[str, Any]:
    """Removes the attributes that Jaeger adds, e.g. its warning about a clock difference."""
    for span in _spans(page):
        pairs = span.get("attributes", [])
        span["attributes"] = [pair for pair in pairs if not pair["key"].startswith(JAEGER_PREFIX)]
    return page


def _get(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content = _without_nulls(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        if b"No traces found" in error.read():
            return {}
        raise ArchiveError(
            f"Jaeger refused {url} ({error.code}): API v3 requires Jaeger 2 or newer"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ArchiveError(f"no Jaeger answers at {url} ({error}): see `lab status`") from None
    if not isinstance(content, dict):
        raise ArchiveError(f"{url} is not a Jaeger: its answer is not a JSON object")
    return content


def _without_nulls(value: Any) -> Any:
    """A member that is null equals an absent one (ProtoJSON)."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _rfc3339(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds")
