"""The forms of the panels' queries. docs/metrics.md documents every series."""

# The services that the dashboard's variables select.
CHOSEN = 'job="shop",service=~"$service",instance=~"$instance",arm=~"$arm"'
WINDOW = "[$__rate_interval]"

SERVED = "http_server_request_duration_seconds"
CALLED = "http_client_request_duration_seconds"


def chosen(series: str, *labels: str) -> str:
    """The series of the selected instances that match `labels`."""
    return f"{series}{{{','.join([CHOSEN, *labels])}}}"


def rate(series: str, *labels: str, by: str) -> str:
    """The increase of a counter per second, summed by the labels in `by`."""
    return f"sum by ({by}) (rate({chosen(series, *labels)}{WINDOW}))"


def quantile(q: float, histogram: str, *labels: str, by: str) -> str:
    """The q-quantile of a histogram's observations; its error is at most one bucket width."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', *labels, by=f'{by}, le')})"


def share(part: str, whole: str) -> str:
    """part / whole: 0 while the part has no series, no value while the whole is 0."""
    return f"(({part}) or 0 * ({whole})) / (({whole}) > 0)"


def named(expr: str, **labels: str) -> str:
    """Add labels; each takes the first group of its source `label:(regex)`, e.g. id="edge:(.*)"."""
    for name, source in labels.items():
        label, regex = source.split(":", 1)
        expr = f'label_replace({expr}, "{name}", "$1", "{label}", "{regex}")'
    return expr
