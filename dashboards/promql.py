"""The few forms that the panels' queries have. Every series is of docs/metrics.md."""

# What the dashboard's variables leave of the services.
CHOSEN = 'job="shop",service=~"$service",instance=~"$instance",arm=~"$arm"'
WINDOW = "[$__rate_interval]"

SERVED = "http_server_request_duration_seconds"
CALLED = "http_client_request_duration_seconds"


def chosen(series: str, *labels: str) -> str:
    """The series of the chosen instances, of which `labels` (matchers) hold."""
    return f"{series}{{{','.join([CHOSEN, *labels])}}}"


def rate(series: str, *labels: str, by: str) -> str:
    """How much a counter grows a second, summed by the labels named."""
    return f"sum by ({by}) (rate({chosen(series, *labels)}{WINDOW}))"


def quantile(q: float, histogram: str, *labels: str, by: str) -> str:
    """The q-quantile of a histogram's observations; its error is the bucket's width."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', *labels, by=f'{by}, le')})"


def share(part: str, whole: str) -> str:
    """part / whole; 0 where the part has no series yet, nothing where nothing happens."""
    return f"(({part}) or 0 * ({whole})) / (({whole}) > 0)"


def named(expr: str, **labels: str) -> str:
    """With further labels; `$1` is the first group of a `label:(regex)` source, e.g. id="edge:(.*)"."""
    for name, source in labels.items():
        label, regex = source.split(":", 1)
        expr = f'label_replace({expr}, "{name}", "$1", "{label}", "{regex}")'
    return expr
