"""The HTTP API, call by call: statuses, shapes and error bodies of Toxiproxy."""

import socket
from typing import Any

import pytest

from tests.lab.proxy.rig import ProxyProcess, Upstream, connect, is_refused, round_trip_s, running

EDGE = {"name": "edge", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}
LATENCY = {"type": "latency", "attributes": {"latency": 5}}
TOXICS = "/proxies/edge/toxics"


def refusal(message: str, status: int) -> tuple[int, dict[str, Any]]:
    return status, {"error": message, "status": status}


def plain(told: dict[str, Any]) -> dict[str, Any]:
    """Without our additions."""
    return {key: value for key, value in told.items() if key != "breakwater"}


@pytest.fixture
def edge(lab: ProxyProcess) -> ProxyProcess:
    lab.edge(9)
    return lab


def test_a_created_proxy_is_told_with_the_port_it_got(lab: ProxyProcess) -> None:
    status, told = lab.ask("POST", "/proxies", EDGE)
    assert status == 201
    assert told["listen"].startswith("127.0.0.1:")
    assert not told["listen"].endswith(":0")
    assert plain(told) == {**EDGE, "listen": told["listen"], "enabled": True, "toxics": []}
    assert lab.ask("GET", "/proxies/edge") == (200, told)
    assert lab.ask("GET", "/proxies") == (200, {"edge": told})


def test_a_proxy_without_listen_takes_a_loopback_port(lab: ProxyProcess) -> None:
    _, told = lab.ask("POST", "/proxies", {"name": "edge", "upstream": "127.0.0.1:9"})
    assert told["listen"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "bad request body: EOF"),
        ({}, "missing required field: name"),
        ({"name": "x"}, "missing required field: upstream"),
        ({"name": 1}, "bad request body: name must be a string, not a number"),
        ([], "bad request body: the body must be an object, not an array"),
        (
            {"name": "x", "upstream": "y", "enabled": "yes"},
            "bad request body: enabled must be true or false, not a string",
        ),
    ],
)
def test_a_bad_proxy_is_refused(lab: ProxyProcess, body: Any, message: str) -> None:
    assert lab.ask("POST", "/proxies", body) == refusal(message, 400)
    assert lab.ask("GET", "/proxies") == (200, {})


def test_a_second_proxy_of_a_name_conflicts(edge: ProxyProcess) -> None:
    assert edge.ask("POST", "/proxies", EDGE) == refusal("proxy already exists", 409)


def test_a_port_in_use_is_told_and_nothing_is_created(lab: ProxyProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = lab.ask("POST", "/proxies", {**EDGE, "listen": listen})
    assert answer == refusal(f"listen tcp {listen}: bind: address already in use", 500)
    assert lab.ask("GET", "/proxies") == (200, {})


@pytest.mark.parametrize(
    ("listen", "got"), [("0.0.0.0:0", "127.0.0.1:"), (":0", "127.0.0.1:"), ("[::]:0", "[::1]:")]
)
def test_listening_everywhere_is_narrowed_to_loopback(
    lab: ProxyProcess, listen: str, got: str
) -> None:
    if got == "[::1]:" and not has_ipv6():
        pytest.skip("no IPv6 here")
    status, told = lab.ask("POST", "/proxies", {**EDGE, "listen": listen})
    assert status == 201
    assert told["listen"].startswith(got)


def test_listening_beyond_loopback_must_be_allowed(lab: ProxyProcess) -> None:
    status, told = lab.ask("POST", "/proxies", {**EDGE, "listen": "192.0.2.1:0"})
    assert status == 400
    assert "--expose" in told["error"]


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
def test_an_unknown_proxy_is_not_found(lab: ProxyProcess, method: str) -> None:
    assert lab.ask(method, "/proxies/nobody", {}) == refusal("proxy not found", 404)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_toxics_of_an_unknown_proxy_are_not_found(lab: ProxyProcess, method: str) -> None:
    body = LATENCY if method == "POST" else None
    assert lab.ask(method, "/proxies/nobody/toxics", body) == refusal("proxy not found", 404)


def test_a_deleted_proxy_refuses_connections(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    assert lab.ask("DELETE", "/proxies/edge") == (204, "")
    assert is_refused(port)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_a_changed_upstream_keeps_port_and_toxics(
    lab: ProxyProcess, echoing: Upstream, method: str
) -> None:
    port = lab.edge(9)
    lab.ask("POST", TOXICS, LATENCY)
    upstream = f"127.0.0.1:{echoing.port}"
    status, told = lab.ask(method, "/proxies/edge", {"name": "ignored", "upstream": upstream})
    assert status == 200
    assert (told["name"], told["upstream"]) == ("edge", upstream)
    assert told["listen"] == f"127.0.0.1:{port}"
    assert [toxic["name"] for toxic in told["toxics"]] == ["latency_downstream"]
    assert round_trip_s(connect(port)) >= 0.005


def test_a_change_that_fails_leaves_the_proxy_as_it_was(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    port = lab.edge(echoing)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _ = lab.ask("PATCH", "/proxies/edge", {"listen": listen})
    assert status == 500
    _, told = lab.ask("GET", "/proxies/edge")
    assert (told["listen"], told["enabled"]) == (f"127.0.0.1:{port}", True)
    round_trip_s(connect(port))


def test_populate_leaves_equal_proxies_and_replaces_others(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    upstream = f"127.0.0.1:{echoing.port}"
    kept = {"name": "kept", "listen": "127.0.0.1:0", "upstream": upstream}
    _, first = lab.ask("POST", "/populate", [kept, {**EDGE, "enabled": False}])
    assert [proxy["enabled"] for proxy in first["proxies"]] == [True, False]
    listen = first["proxies"][0]["listen"]
    lab.ask("POST", "/proxies/kept/toxics", {"type": "noop"})
    sock = connect(int(listen.rpartition(":")[2]))
    again = [{**kept, "listen": listen}, {**EDGE, "upstream": upstream}]
    status, second = lab.ask("POST", "/populate", again)
    assert status == 201
    assert [toxic["type"] for toxic in second["proxies"][0]["toxics"]] == ["noop"]
    round_trip_s(sock)  # the connection lived through it
    assert second["proxies"][1]["upstream"] == upstream


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([EDGE, {"upstream": "x"}], "missing required field: name at proxy 2"),
        ([{"name": "x"}], "missing required field: upstream at proxy 1"),
        ({}, "bad request body: the body must be an array, not an object"),
    ],
)
def test_populate_checks_all_before_it_creates_one(
    lab: ProxyProcess, body: Any, message: str
) -> None:
    answer = lab.ask("POST", "/populate", body)
    assert answer == (400, {"error": message, "status": 400, "proxies": []})
    assert lab.ask("GET", "/proxies") == (200, {})


def test_populate_tells_what_it_did_before_a_port_was_taken(lab: ProxyProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        blocked = {**EDGE, "name": "b", "listen": f"127.0.0.1:{taken.getsockname()[1]}"}
        status, told = lab.ask("POST", "/populate", [EDGE, blocked])
    assert status == told["status"] == 500
    assert [proxy["name"] for proxy in told["proxies"]] == ["edge"]


def test_a_toxic_gets_its_defaults(edge: ProxyProcess) -> None:
    status, told = edge.ask("POST", TOXICS, LATENCY)
    assert status == 200
    assert plain(told) == {
        "attributes": {"latency": 5, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }
    assert plain(edge.ask("GET", f"{TOXICS}/latency_downstream")[1]) == plain(told)


def test_toxics_are_listed_upstream_first(edge: ProxyProcess) -> None:
    for stream in ("downstream", "upstream"):
        edge.ask("POST", TOXICS, {**LATENCY, "stream": stream})
    _, told = edge.ask("GET", TOXICS)
    assert [toxic["name"] for toxic in told] == ["latency_upstream", "latency_downstream"]


@pytest.mark.parametrize(
    "word",
    [
        "noop",
        "latency",
        "bandwidth",
        "slow_close",
        "timeout",
        "reset_peer",
        "slicer",
        "limit_data",
        "packet_loss",
    ],
)
def test_every_toxic_can_come_and_go(edge: ProxyProcess, word: str) -> None:
    status, told = edge.ask("POST", TOXICS, {"type": word, "name": "t"})
    assert (status, told["type"]) == (200, word)
    assert edge.ask("DELETE", f"{TOXICS}/t") == (204, "")
    assert edge.ask("GET", TOXICS) == (200, [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "bad request body: "),
        ({"type": "unheard_of"}, "invalid toxic type"),
        ({}, "invalid toxic type"),
        (
            {**LATENCY, "stream": "sideways"},
            "stream was invalid, can be either upstream or downstream",
        ),
        (
            {"type": "latency", "attributes": {"latency": "1"}},
            "bad request body: attributes.latency must be a whole number, not a string",
        ),
        (
            {"type": "latency", "attributes": {"latency": 1.5}},
            "bad request body: attributes.latency must be a whole number, not a number",
        ),
        (
            {"type": "latency", "attributes": {"latency": -1}},
            "bad request body: attributes.latency must not be negative",
        ),
        (
            {"type": "latency", "attributes": {"distribution": "odd"}},
            "bad request body: attributes.distribution must be one of uniform, normal, pareto",
        ),
        (
            {"type": "packet_loss", "attributes": {"loss_rate": 2}},
            "bad request body: attributes.loss_rate must be at most 1",
        ),
        ({**LATENCY, "toxicity": 1.5}, "bad request body: toxicity must be between 0 and 1"),
        ({**LATENCY, "ttl": 0}, "bad request body: ttl must be above 0"),
        ({**LATENCY, "ttl": True}, "bad request body: ttl must be a number"),
    ],
)
def test_a_bad_toxic_is_refused(edge: ProxyProcess, body: Any, message: str) -> None:
    status, told = edge.ask("POST", TOXICS, body)
    assert status == told["status"] == 400
    assert told["error"].startswith(message)
    assert edge.ask("GET", TOXICS) == (200, [])


def test_a_second_toxic_of_a_name_conflicts(edge: ProxyProcess) -> None:
    edge.ask("POST", TOXICS, LATENCY)
    assert edge.ask("POST", TOXICS, LATENCY) == refusal("toxic already exists", 409)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_only_attributes_and_toxicity_of_a_toxic_change(edge: ProxyProcess, method: str) -> None:
    edge.ask("POST", TOXICS, LATENCY)
    change = {
        "name": "x",
        "type": "noop",
        "stream": "upstream",
        "toxicity": 0.5,
        "attributes": {"jitter": 2},
    }
    status, told = edge.ask(method, f"{TOXICS}/latency_downstream", change)
    assert status == 200
    assert plain(told) == {
        "attributes": {"latency": 5, "jitter": 2},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.5,
    }


def test_a_refused_change_changes_nothing(edge: ProxyProcess) -> None:
    _, before = edge.ask("POST", TOXICS, LATENCY)
    change = {"toxicity": 0.5, "attributes": {"latency": 9, "jitter": "x"}}
    assert edge.ask("PATCH", f"{TOXICS}/latency_downstream", change)[0] == 400
    assert edge.ask("GET", f"{TOXICS}/latency_downstream") == (200, before)


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
def test_an_unknown_toxic_is_not_found(edge: ProxyProcess, method: str) -> None:
    assert edge.ask(method, f"{TOXICS}/nobody", {}) == refusal("toxic not found", 404)


def test_reset_enables_all_and_removes_all_toxics(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    lab.ask("POST", TOXICS, LATENCY)
    lab.ask("PATCH", "/proxies/edge", {"enabled": False})
    assert is_refused(port)
    assert lab.ask("POST", "/reset") == (204, "")
    _, told = lab.ask("GET", "/proxies/edge")
    assert (told["enabled"], told["toxics"]) == (True, [])
    round_trip_s(connect(port))


def test_metrics_count_the_bytes_of_each_direction(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    round_trip_s(connect(port), b"x" * 1000)
    status, text = lab.ask("GET", "/metrics")
    assert status == 200
    for counter in ("received", "sent"):
        for direction in ("upstream", "downstream"):
            line = (
                f'toxiproxy_proxy_{counter}_bytes_total{{direction="{direction}",'
                f'listener="127.0.0.1:{port}",proxy="edge",upstream="127.0.0.1:{echoing.port}"}}'
            )
            assert f"{line} 1000\n" in text


def test_the_version_is_a_toxiproxys(lab: ProxyProcess) -> None:
    assert lab.ask("GET", "/version") == (200, {"version": "2.12.0"})


def test_a_browser_is_kept_out(lab: ProxyProcess) -> None:
    answer = lab.ask("GET", "/proxies", headers={"User-Agent": "Mozilla/5.0"})
    assert answer == (403, "User agent not allowed\n")


def test_unknown_paths_and_methods_get_toxiproxys_answers(lab: ProxyProcess) -> None:
    assert lab.ask("GET", "/nowhere") == (404, "404 page not found\n")
    assert lab.ask("PUT", "/proxies") == (405, "")


def test_a_misspelt_attribute_is_pointed_out(edge: ProxyProcess) -> None:
    _, told = edge.ask("POST", TOXICS, {"type": "latency", "attributes": {"latecy": 5}})
    assert told["breakwater"]["ignored_attributes"] == ["latecy"]


def test_strict_answers_carry_nothing_of_ours(strict: ProxyProcess) -> None:
    strict.edge(9)
    body = {**LATENCY, "ttl": 0.01, "seed": 7}
    body["attributes"] = {"latency": -5, "distribution": "normal"}
    assert strict.ask("POST", TOXICS, body) == (
        200,
        {
            "attributes": {"latency": -5, "jitter": 0},
            "name": "latency_downstream",
            "type": "latency",
            "stream": "downstream",
            "toxicity": 1,
        },
    )
    assert "breakwater" not in strict.ask("GET", "/proxies/edge")[1]
    assert "breakwater" not in strict.ask("GET", "/metrics")[1]
    assert strict.ask("GET", "/breakwater") == (404, "404 page not found\n")


def test_a_token_is_asked_for_when_the_server_has_one(tmp_path: Any) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with running("--token-file", str(tmp_path / "token")) as server:
        assert server.ask("GET", "/proxies")[0] == 401
        wrong = {"Authorization": "Bearer s3cre"}
        assert server.ask("POST", "/reset", headers=wrong)[0] == 401
        right = {"Authorization": "Bearer s3cret"}
        assert server.ask("GET", "/proxies", headers=right) == (200, {})


def test_toxics_of_our_own_are_unknown_when_strict(
    strict: ProxyProcess, lab: ProxyProcess, echoing: Upstream
) -> None:
    body = {"type": "connection_cap", "attributes": {"connections": 3}}
    for process, status in ((strict, 400), (lab, 200)):
        process.edge(echoing)
        assert process.ask("POST", "/proxies/edge/toxics", body)[0] == status
