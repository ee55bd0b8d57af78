"""Reads raw samples from a Prometheus as rows of the metrics table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.archive.errors import ArchiveError

CHUNK_S = 60
# The samples scraped from the shop. Left out: recording rules, alerts, Prometheus' own `scrape_*`
# series, and `_created`, which the recorder leaves out too.
SCRAPED = '{service!="",__name__!~".*:.*|ALERTS.*|scrape_.*|.*_created"}'
# Labels of the target: they are columns of the table, or do not belong to the series.
TARGET_LABELS = frozenset({"__name__", "service", "instance", "job", "arm", "version"})


def metrics_lines(url: str, start_s: float, end_s: float, matching: str) -> Iterator[bytes]:
    """Rows of the metrics table as JSON lines, by series and time. Raises ArchiveError."""
    import requests
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from urllib3.util import Retry

    last_s: dict[str, float] = {}  # an older Prometheus returns a sample at a chunk's edge twice
    begin, end = datetime.fromtimestamp(math.floor(start_s), UTC), math.ceil(end_s)
    with PrometheusConnect(url, retry=Retry(0), timeout=30) as prometheus:
        while begin.timestamp() < end:
            until = min(begin + timedelta(seconds=CHUNK_S), datetime.fromtimestamp(end, UTC))
            try:
                for series in prometheus.get_metric_range_data(
                    matching, start_time=begin, end_time=until
                ):
                    yield from _lines(series, start_s, end_s, last_s)
            except requests.RequestException as error:
                raise ArchiveError(
                    f"no Prometheus answers at {url} ({type(error).__name__}): see `lab status`"
                ) from None
            except PrometheusApiClientException as error:
                raise ArchiveError(f"Prometheus at {url} refused {matching}: {error}") from None
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ArchiveError(
                    f"Prometheus at {url} sent an answer that cannot be read: {error!r:.200}"
                ) from None
            begin = until


def _lines(
    series: dict[str, Any], start_s: float, end_s: float, last_s: dict[str, float]
) -> Iterator[bytes]:
    metric = series["metric"]
    if "histograms" in series:
        raise ArchiveError(
            f"{metric.get('__name__')} is a native histogram, which has no single value: leave it out by"
            " `matching`, or have it scraped as a classic one"
        )
    service = metric.get("service") or metric.get("job", "")
    labels = {name: text for name, text in metric.items() if name not in TARGET_LABELS}
    row = {"service": service, "instance": metric.get("instance", ""), "name": metric["__name__"]}
    head = json.dumps(row | {"labels": labels}, separators=(",", ":"))[:-1]
    after_s = last_s.get(head, -math.inf)
    for time_s, text in series["values"]:
        if after_s < time_s and start_s <= time_s <= end_s:
            value = float(text)
            written = repr(value) if math.isfinite(value) else "null"
            yield f'{head},"time_s":{time_s!r},"value":{written}}}\n'.encode()
            after_s = time_s
    last_s[head] = after_s
