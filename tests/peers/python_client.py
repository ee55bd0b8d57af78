"""Uses the fault proxy through toxiproxy-python; run by `run.py` in that package's environment."""

import socket

from toxiproxy import Toxiproxy  # type: ignore[import-not-found]
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists  # type: ignore[import-not-found]

API = "127.0.0.1:8474"


def raises(error: type[Exception], call: object, *args: object, **options: object) -> bool:
    try:
        call(*args, **options)  # type: ignore[operator]
    except error:
        return True
    return False


def listens(proxy: object) -> bool:
    host, _, port = proxy.listen.rpartition(":")  # type: ignore[attr-defined]
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


server = Toxiproxy()
assert server.running()
assert b"2.12.0" in server.version()
edge = server.create(name="edge", upstream=API)
assert edge.enabled
assert list(server.proxies()) == ["edge"]
assert raises(ProxyExists, server.create, name="edge", upstream=API)
edge.add_toxic(type="latency", attributes={"latency": 5, "jitter": 1})
edge.add_toxic(type="bandwidth", stream="upstream", toxicity=0.5, attributes={"rate": 100})
assert set(edge.toxics()) == {"latency_downstream", "bandwidth_upstream"}
assert edge.get_toxic("latency_downstream").attributes == {"latency": 5, "jitter": 1}
assert raises(InvalidToxic, edge.add_toxic, type="unknown")
edge.destroy_toxic("bandwidth_upstream")
assert raises(NotFound, edge.destroy_toxic, "bandwidth_upstream")
with edge.down():
    assert not server.get_proxy("edge").enabled
    assert not listens(server.get_proxy("edge"))
assert listens(server.get_proxy("edge"))
server.reset()
assert edge.toxics() == {}
populated = server.populate([{"name": "two", "upstream": API, "listen": "127.0.0.1:0"}])
assert [proxy.name for proxy in populated] == ["two"]
server.destroy_all()
assert server.proxies() == {}
