"""What `/metrics` shows: the registry, what a service has put into it, and its two text formats."""

import prometheus_client
from opentelemetry.trace import Span
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry

from chassis.telemetry.histogram import Histogram

# when each series began: a constant in every scrape, and a third of its length
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
_shown: set[int] = set()
_histograms: list[Histogram] = []
# all but the histograms, which write their own text
_others = CollectorRegistry()
for _of_python in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    _others.register(_of_python)


def counter(name: str, says: str, labels: tuple[str, ...] = ()) -> Counter:
    """Shown once `expose` was called with it: one process imports all services, and is each one's parent."""
    return Counter(name, says, labels, registry=None)


def gauge(name: str, says: str, labels: tuple[str, ...] = ()) -> Gauge:
    """Shown once `expose` was called with it."""
    return Gauge(name, says, labels, registry=None)


def expose(*metrics: Collector) -> None:
    """From now on this process has these; again is the same as once."""
    for metric in metrics:
        if id(metric) not in _shown:
            _shown.add(id(metric))
            REGISTRY.register(metric)
            if isinstance(metric, Histogram):
                _histograms.append(metric)
            else:
                _others.register(metric)


def withdraw(collector: Collector) -> None:
    """Take back what `expose` showed."""
    if id(collector) in _shown:
        _shown.remove(id(collector))
        REGISTRY.unregister(collector)
        if isinstance(collector, Histogram):
            _histograms.remove(collector)
        else:
            _others.unregister(collector)


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics as text and its content type: OpenMetrics, with exemplars, where `accept` asks for it."""
    encode, content_type = choose_encoder(accept)
    plain = content_type.startswith("text/plain")
    # asked each second or two, and four lines in five are of histograms
    histograms = "".join(each.text(exemplars=not plain) for each in _histograms).encode()
    page, end = encode(_others), b"" if plain else b"# EOF\n"
    return page.removesuffix(end) + histograms + end, content_type


def exemplar_trace_id(span: Span) -> int:
    """The trace id of `span` for an exemplar; 0 if nobody will find that trace."""
    context = span.get_span_context()
    return context.trace_id if context.trace_flags.sampled else 0
