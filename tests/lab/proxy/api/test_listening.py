"""Where a proxy listens: loopback, all addresses, and addresses that are none."""

import socket

import pytest

from tests.lab.proxy.rig import ProxyProcess, Upstream, round_trip_s

EDGE = {"name": "edge", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}


@pytest.mark.parametrize(
    ("listen", "got"), [("0.0.0.0:0", "127.0.0.1:"), (":0", "127.0.0.1:"), ("[::]:0", "[::1]:")]
)
def test_listening_on_all_addresses_becomes_loopback(
    lab: ProxyProcess, listen: str, got: str
) -> None:
    if got == "[::1]:" and not has_ipv6():
        pytest.skip("no IPv6 here")
    status, answer = lab.call("POST", "/proxies", {**EDGE, "listen": listen})
    assert status == 201
    assert answer["listen"].startswith(got)


def test_listening_on_other_addresses_needs_expose(lab: ProxyProcess) -> None:
    status, answer = lab.call("POST", "/proxies", {**EDGE, "listen": "192.0.2.1:0"})
    assert status == 400
    assert "--expose" in answer["error"]


def test_strict_listens_on_all_addresses_of_both_families(
    strict: ProxyProcess, echoing: Upstream
) -> None:
    if not has_ipv6():
        pytest.skip("no IPv6 here")
    for listen in ("", ":0", "0.0.0.0:0"):
        port = strict.edge(echoing, listen=listen)
        assert strict.call("GET", "/proxies/edge")[1]["listen"] == f"[::]:{port}"
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), timeout=5) as client:
                assert round_trip_s(client) >= 0
        strict.clear()


@pytest.mark.parametrize(
    ("listen", "text"),
    [
        ("127.0.0.1:-1", "address -1: invalid port"),
        ("127.0.0.1:no-such", "lookup tcp/no-such: unknown port"),
    ],
)
def test_a_port_that_is_none_is_refused(lab: ProxyProcess, listen: str, text: str) -> None:
    status, answer = lab.call("POST", "/proxies", {**EDGE, "listen": listen})
    assert status == 500
    assert text in answer["error"]


def test_a_disabled_proxy_of_populate_is_not_resolved(lab: ProxyProcess) -> None:
    one = {"name": "off", "listen": "no.such.host.invalid:0", "upstream": "x", "enabled": False}
    assert lab.call("POST", "/populate", [one])[0] == 201


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
