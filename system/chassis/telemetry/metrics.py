"""The metrics of a process and the text of `/metrics`, in Prometheus' and OpenMetrics' format."""

import prometheus_client
from opentelemetry.trace import Span
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry

from chassis.telemetry.children_cpu import ChildrenCpu
from chassis.telemetry.histogram import Histogram

# no `_created` series: they are constant, and a third of the text of a scrape
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
_exposed: set[int] = set()
_histograms: list[Histogram] = []
# all metrics except the histograms, which format their own text
_others = CollectorRegistry()
for _of_python in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    _others.register(_of_python)
_others.register(ChildrenCpu())


def counter(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
    """A counter; `/metrics` has it after `expose`. The parent of forked services imports all metrics."""
    return Counter(name, help_text, labels, registry=None)


def gauge(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
    """A gauge; `/metrics` has it after `expose`."""
    return Gauge(name, help_text, labels, registry=None)


def expose(*metrics: Collector) -> None:
    """Add these to `/metrics`. A repeated call has no effect."""
    for metric in metrics:
        if id(metric) not in _exposed:
            _exposed.add(id(metric))
            REGISTRY.register(metric)
            if isinstance(metric, Histogram):
                _histograms.append(metric)
            else:
                _others.register(metric)


def withdraw(collector: Collector) -> None:
    """Remove a metric that `expose` added."""
    if id(collector) in _exposed:
        _exposed.remove(id(collector))
        REGISTRY.unregister(collector)
        if isinstance(collector, Histogram):
            _histograms.remove(collector)
        else:
            _others.unregister(collector)


def exposition(accept: str) -> tuple[bytes, str]:
    """The text of all metrics and its content type. OpenMetrics with exemplars if `accept` requests it."""
    encode, content_type = choose_encoder(accept)
    plain = content_type.startswith("text/plain")
    # scraped every one or two seconds, and four lines in five belong to histograms
    histograms = "".join(each.text(exemplars=not plain) for each in _histograms).encode()
    page, end = encode(_others), b"" if plain else b"# EOF\n"
    return page.removesuffix(end) + histograms + end, content_type


def exemplar_trace_id(span: Span) -> int:
    """The trace id of `span` for an exemplar; 0 if the trace is not sampled."""
    context = span.get_span_context()
    return context.trace_id if context.trace_flags.sampled else 0
