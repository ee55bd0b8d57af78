"""/metrics: the traffic of every proxy, and the hits of every toxic."""

from lab.prometheus_text import Exposition
from lab.proxy.proxy import Proxy

COUNTERS = {"received": "Bytes read from a socket.", "sent": "Bytes written to a socket."}


def render(proxies: list[Proxy], *, extras: bool) -> str:
    """Toxiproxy's two counters and, with `extras`, our own metrics.

    The counters are current; Toxiproxy adds the bytes of a connection only when it ends.
    """
    page = Exposition()
    for counter, help_ in COUNTERS.items():
        page.family(f"toxiproxy_proxy_{counter}_bytes_total", "counter", help_)
        for proxy in proxies:
            for direction, traffic in proxy.traffic.items():
                page.sample(
                    getattr(traffic, counter),
                    direction=direction,
                    listener=proxy.listen,
                    proxy=proxy.name,
                    upstream=proxy.upstream,
                )
    if extras:
        _write_extras(page, proxies)
    return page.text()


def _write_extras(page: Exposition, proxies: list[Proxy]) -> None:
    page.family("breakwater_proxy_connections", "gauge", "Open connections.")
    for proxy in proxies:
        page.sample(sum(each.open for each in proxy.connections.values()), proxy=proxy.name)
    page.family("breakwater_toxic_hits_total", "counter", "Chunks and closes that a toxic changed.")
    for proxy in proxies:
        for toxic in proxy.listed_toxics():
            labels = {"proxy": proxy.name, "toxic": toxic.name, "type": toxic.stage_type.type_name}
            page.sample(toxic.record.hits, **labels)
