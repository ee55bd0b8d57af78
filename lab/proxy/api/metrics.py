"""/metrics: the traffic of every proxy in Prometheus' text format."""

from collections.abc import Iterable, Iterator

from lab.proxy.proxy import Proxy

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTERS = {"received": "Bytes read from a socket.", "sent": "Bytes written to a socket."}


def render(proxies: Iterable[Proxy], *, extras: bool) -> str:
    """Toxiproxy's two counters, alive (it adds a connection's bytes at its end only), and ours."""
    proxies = list(proxies)
    lines = list(_traffic(proxies))
    if extras:
        lines += _toxics(proxies)
    return "\n".join(lines) + "\n"


def _traffic(proxies: list[Proxy]) -> Iterator[str]:
    for counter, text in COUNTERS.items():
        name = f"toxiproxy_proxy_{counter}_bytes_total"
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} counter"
        for proxy in proxies:
            for direction, traffic in proxy.traffic.items():
                labels = _labels(
                    direction=direction,
                    listener=proxy.listen,
                    proxy=proxy.name,
                    upstream=proxy.upstream,
                )
                yield f"{name}{labels} {getattr(traffic, counter)}"


def _toxics(proxies: list[Proxy]) -> Iterator[str]:
    yield "# HELP breakwater_proxy_connections Open connections."
    yield "# TYPE breakwater_proxy_connections gauge"
    for proxy in proxies:
        count = sum(connection.open for connection in proxy.connections.values())
        yield f"breakwater_proxy_connections{_labels(proxy=proxy.name)} {count}"
    yield "# HELP breakwater_toxic_hits_total Chunks and closes that a toxic changed."
    yield "# TYPE breakwater_toxic_hits_total counter"
    for proxy in proxies:
        for toxic in proxy.listed_toxics():
            labels = _labels(proxy=proxy.name, toxic=toxic.name, type=toxic.stage_type.type_name)
            yield f"breakwater_toxic_hits_total{labels} {toxic.record.hits}"


def _labels(**labels: str) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
