"""Every call of the HTTP API: statuses, bodies and errors as Toxiproxy has them."""

import socket
from typing import Any

import pytest

from tests.lab.proxy.rig import ProxyProcess, Upstream, connect, is_refused, round_trip_s, running

EDGE = {"name": "edge", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}
LATENCY = {"type": "latency", "attributes": {"latency": 5}}
TOXICS = "/proxies/edge/toxics"


def refusal(message: str, status: int) -> tuple[int, dict[str, Any]]:
    return status, {"error": message, "status": status}


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer without our additions."""
    return {key: value for key, value in answer.items() if key != "breakwater"}


@pytest.fixture
def edge(lab: ProxyProcess) -> ProxyProcess:
    lab.edge(9)
    return lab


def test_a_created_proxy_is_shown_with_its_port(lab: ProxyProcess) -> None:
    status, answer = lab.call("POST", "/proxies", EDGE)
    assert status == 201
    assert answer["listen"].startswith("127.0.0.1:")
    assert not answer["listen"].endswith(":0")
    assert plain(answer) == {**EDGE, "listen": answer["listen"], "enabled": True, "toxics": []}
    assert lab.call("GET", "/proxies/edge") == (200, answer)
    assert lab.call("GET", "/proxies") == (200, {"edge": answer})


def test_a_proxy_without_listen_gets_a_loopback_port(lab: ProxyProcess) -> None:
    _, answer = lab.call("POST", "/proxies", {"name": "edge", "upstream": "127.0.0.1:9"})
    assert answer["listen"].startswith("127.0.0.1:")


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
    assert lab.call("POST", "/proxies", body) == refusal(message, 400)
    assert lab.call("GET", "/proxies") == (200, {})


def test_a_second_proxy_with_the_same_name_conflicts(edge: ProxyProcess) -> None:
    assert edge.call("POST", "/proxies", EDGE) == refusal("proxy already exists", 409)


def test_a_port_in_use_is_reported_and_nothing_is_created(lab: ProxyProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = lab.call("POST", "/proxies", {**EDGE, "listen": listen})
    assert answer == refusal(f"listen tcp {listen}: bind: address already in use", 500)
    assert lab.call("GET", "/proxies") == (200, {})


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/proxies", {**EDGE, "name": "new", "enabld": False}, "did you mean 'enabled'?"),
        ("/proxies", {**EDGE, "name": "new", "toxics": [LATENCY]}, "/toxics after this call"),
        ("/populate", [{**EDGE, "upstraem": "x"}], "did you mean 'upstream'?"),
        ("/proxies/edge", {"enabld": False}, "did you mean 'enabled'?"),
        (TOXICS, {**LATENCY, "name": "t", "toxicty": 1}, "did you mean 'toxicity'?"),
        (f"{TOXICS}/latency_downstream", {"atributes": {}}, "did you mean 'attributes'?"),
    ],
)
def test_a_misspelt_field_is_refused_but_under_strict(
    edge: ProxyProcess, strict: ProxyProcess, path: str, body: Any, text: str
) -> None:
    edge.call("POST", TOXICS, LATENCY)
    before = edge.call("GET", "/proxies")
    status, answer = edge.call("POST", path, body)
    assert (status, answer["error"].endswith(text)) == (400, True), answer
    after = edge.call("GET", "/proxies")
    assert set(after[1]) == set(before[1])
    strict.call("POST", "/proxies", EDGE)
    strict.call("POST", TOXICS, LATENCY)
    assert strict.call("POST", path, body)[0] in (200, 201)


def test_an_answer_can_be_sent_back(edge: ProxyProcess) -> None:
    _, shown = edge.call("GET", "/proxies/edge")
    edge.call("DELETE", "/proxies/edge")
    assert edge.call("POST", "/proxies", shown)[0] == 201
    edge.call("POST", TOXICS, LATENCY)
    _, shown = edge.call("GET", "/proxies/edge")
    assert edge.call("PATCH", "/proxies/edge", shown)[0] == 200


def test_packet_loss_is_ours(strict: ProxyProcess) -> None:
    strict.call("POST", "/proxies", EDGE)
    assert strict.call("POST", TOXICS, {"type": "packet_loss"})[1]["error"] == "invalid toxic type"


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
def test_an_unknown_proxy_is_not_found(lab: ProxyProcess, method: str) -> None:
    assert lab.call(method, "/proxies/absent", {}) == refusal("proxy not found", 404)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_toxics_of_an_unknown_proxy_are_not_found(lab: ProxyProcess, method: str) -> None:
    body = LATENCY if method == "POST" else None
    assert lab.call(method, "/proxies/absent/toxics", body) == refusal("proxy not found", 404)


def test_a_deleted_proxy_refuses_connections(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    assert lab.call("DELETE", "/proxies/edge") == (204, "")
    assert is_refused(port)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_a_changed_upstream_keeps_port_and_toxics(
    lab: ProxyProcess, echoing: Upstream, method: str
) -> None:
    port = lab.edge(9)
    lab.call("POST", TOXICS, LATENCY)
    upstream = f"127.0.0.1:{echoing.port}"
    status, answer = lab.call(method, "/proxies/edge", {"name": "ignored", "upstream": upstream})
    assert status == 200
    assert (answer["name"], answer["upstream"]) == ("edge", upstream)
    assert answer["listen"] == f"127.0.0.1:{port}"
    assert [toxic["name"] for toxic in answer["toxics"]] == ["latency_downstream"]
    assert round_trip_s(connect(port)) >= 0.005


def test_a_change_that_fails_leaves_the_proxy_as_it_was(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    port = lab.edge(echoing)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _ = lab.call("PATCH", "/proxies/edge", {"listen": listen})
    assert status == 500
    _, answer = lab.call("GET", "/proxies/edge")
    assert (answer["listen"], answer["enabled"]) == (f"127.0.0.1:{port}", True)
    round_trip_s(connect(port))


def test_populate_leaves_equal_proxies_and_replaces_others(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    upstream = f"127.0.0.1:{echoing.port}"
    kept = {"name": "kept", "listen": "127.0.0.1:0", "upstream": upstream}
    _, first = lab.call("POST", "/populate", [kept, {**EDGE, "enabled": False}])
    assert [proxy["enabled"] for proxy in first["proxies"]] == [True, False]
    listen = first["proxies"][0]["listen"]
    lab.call("POST", "/proxies/kept/toxics", {"type": "noop"})
    sock = connect(int(listen.rpartition(":")[2]))
    again = [{**kept, "listen": listen}, {**EDGE, "upstream": upstream}]
    status, second = lab.call("POST", "/populate", again)
    assert status == 201
    assert [toxic["type"] for toxic in second["proxies"][0]["toxics"]] == ["noop"]
    round_trip_s(sock)  # the connection survived
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
    answer = lab.call("POST", "/populate", body)
    assert answer == (400, {"error": message, "status": 400, "proxies": []})
    assert lab.call("GET", "/proxies") == (200, {})


def test_populate_reports_the_proxies_before_the_one_that_failed(lab: ProxyProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        blocked = {**EDGE, "name": "b", "listen": f"127.0.0.1:{taken.getsockname()[1]}"}
        status, answer = lab.call("POST", "/populate", [EDGE, blocked])
    assert status == answer["status"] == 500
    assert [proxy["name"] for proxy in answer["proxies"]] == ["edge"]


def test_a_toxic_gets_its_defaults(edge: ProxyProcess) -> None:
    status, answer = edge.call("POST", TOXICS, LATENCY)
    assert status == 200
    assert plain(answer) == {
        "attributes": {"latency": 5, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }
    assert plain(edge.call("GET", f"{TOXICS}/latency_downstream")[1]) == plain(answer)


def test_toxics_are_listed_upstream_first(edge: ProxyProcess) -> None:
    for stream in ("downstream", "upstream"):
        edge.call("POST", TOXICS, {**LATENCY, "stream": stream})
    _, answer = edge.call("GET", TOXICS)
    assert [toxic["name"] for toxic in answer] == ["latency_upstream", "latency_downstream"]


@pytest.mark.parametrize(
    "type_name",
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
def test_every_toxic_can_be_added_and_removed(edge: ProxyProcess, type_name: str) -> None:
    status, answer = edge.call("POST", TOXICS, {"type": type_name, "name": "t"})
    assert (status, answer["type"]) == (200, type_name)
    assert edge.call("DELETE", f"{TOXICS}/t") == (204, "")
    assert edge.call("GET", TOXICS) == (200, [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "bad request body: "),
        ({"type": "unknown"}, "invalid toxic type"),
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
    status, answer = edge.call("POST", TOXICS, body)
    assert status == answer["status"] == 400
    assert answer["error"].startswith(message)
    assert edge.call("GET", TOXICS) == (200, [])


def test_a_second_toxic_with_the_same_name_conflicts(edge: ProxyProcess) -> None:
    edge.call("POST", TOXICS, LATENCY)
    assert edge.call("POST", TOXICS, LATENCY) == refusal("toxic already exists", 409)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_only_attributes_and_toxicity_of_a_toxic_change(edge: ProxyProcess, method: str) -> None:
    edge.call("POST", TOXICS, LATENCY)
    change = {
        "name": "x",
        "type": "noop",
        "stream": "upstream",
        "toxicity": 0.5,
        "attributes": {"jitter": 2},
    }
    status, answer = edge.call(method, f"{TOXICS}/latency_downstream", change)
    assert status == 200
    assert plain(answer) == {
        "attributes": {"latency": 5, "jitter": 2},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.5,
    }


def test_a_refused_change_changes_nothing(edge: ProxyProcess) -> None:
    _, before = edge.call("POST", TOXICS, LATENCY)
    change = {"toxicity": 0.5, "attributes": {"latency": 9, "jitter": "x"}}
    assert edge.call("PATCH", f"{TOXICS}/latency_downstream", change)[0] == 400
    assert edge.call("GET", f"{TOXICS}/latency_downstream") == (200, before)


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
def test_an_unknown_toxic_is_not_found(edge: ProxyProcess, method: str) -> None:
    assert edge.call(method, f"{TOXICS}/absent", {}) == refusal("toxic not found", 404)


def test_reset_enables_all_and_removes_all_toxics(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    lab.call("POST", TOXICS, LATENCY)
    lab.call("PATCH", "/proxies/edge", {"enabled": False})
    assert is_refused(port)
    assert lab.call("POST", "/reset") == (204, "")
    _, answer = lab.call("GET", "/proxies/edge")
    assert (answer["enabled"], answer["toxics"]) == (True, [])
    round_trip_s(connect(port))


def test_metrics_count_the_bytes_of_each_direction(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    round_trip_s(connect(port), b"x" * 1000)
    status, text = lab.call("GET", "/metrics")
    assert status == 200
    for counter in ("received", "sent"):
        for direction in ("upstream", "downstream"):
            line = (
                f'toxiproxy_proxy_{counter}_bytes_total{{direction="{direction}",'
                f'listener="127.0.0.1:{port}",proxy="edge",upstream="127.0.0.1:{echoing.port}"}}'
            )
            assert f"{line} 1000\n" in text


def test_the_version_is_toxiproxys(lab: ProxyProcess) -> None:
    assert lab.call("GET", "/version") == (200, {"version": "2.12.0"})


def test_a_browser_is_refused(lab: ProxyProcess) -> None:
    answer = lab.call("GET", "/proxies", headers={"User-Agent": "Mozilla/5.0"})
    assert answer == (403, "User agent not allowed\n")


def test_unknown_paths_and_methods_get_toxiproxys_answers(lab: ProxyProcess) -> None:
    assert lab.call("GET", "/nowhere") == (404, "404 page not found\n")
    assert lab.call("PUT", "/proxies") == (405, "")


def test_a_misspelt_attribute_is_reported(edge: ProxyProcess) -> None:
    _, answer = edge.call("POST", TOXICS, {"type": "latency", "attributes": {"latecy": 5}})
    assert answer["breakwater"]["ignored_attributes"] == ["latecy"]


def test_strict_answers_have_none_of_our_fields(strict: ProxyProcess) -> None:
    strict.edge(9)
    body = {**LATENCY, "ttl": 0.01, "seed": 7}
    body["attributes"] = {"latency": -5, "distribution": "normal"}
    assert strict.call("POST", TOXICS, body) == (
        200,
        {
            "attributes": {"latency": -5, "jitter": 0},
            "name": "latency_downstream",
            "type": "latency",
            "stream": "downstream",
            "toxicity": 1,
        },
    )
    assert "breakwater" not in strict.call("GET", "/proxies/edge")[1]
    assert "breakwater" not in strict.call("GET", "/metrics")[1]
    assert strict.call("GET", "/breakwater") == (404, "404 page not found\n")


def test_a_server_with_a_token_requires_it(tmp_path: Any) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with running("--token-file", str(tmp_path / "token")) as server:
        assert server.call("GET", "/proxies")[0] == 401
        wrong = {"Authorization": "Bearer s3cre"}
        assert server.call("POST", "/reset", headers=wrong)[0] == 401
        right = {"Authorization": "Bearer s3cret"}
        assert server.call("GET", "/proxies", headers=right) == (200, {})


def test_our_own_toxics_are_unknown_when_strict(
    strict: ProxyProcess, lab: ProxyProcess, echoing: Upstream
) -> None:
    body = {"type": "connection_cap", "attributes": {"connections": 3}}
    for process, status in ((strict, 400), (lab, 200)):
        process.edge(echoing)
        assert process.call("POST", "/proxies/edge/toxics", body)[0] == status
