"""The topology is read completely; each error names its file, line and the expected value."""

import re
from pathlib import Path

import pytest

from lab import topology
from lab.topology import Topology, TopologyError

GOOD = """\
[ingress]
offset = 0
balances = "front"

[services.front]
offset = 10
replicas = 2
calls = ["back"]
slo = { availability = 0.99, latency_ms_p99 = 100 }

[services.back]
offset = 20
replicas = 1
stores = ["postgres"]
publishes = ["Happened"]
slo = { availability = 0.99, latency_ms_p99 = 100 }

[servers]
postgres = { offset = 90 }
valkey = { offset = 91 }
nats = { offset = 92, monitor_offset = 93 }

[lab]
mail_smtp = { offset = 94 }
mail_page = { offset = 95 }
recorder = { offset = 96 }
control = { offset = 97 }
locust_ui = { offset = 9 }
proxy = { offset = 100 }
"""


def parse(text: str) -> Topology:
    return topology.parse(text, Path("t.toml"))


def test_the_committed_topology_is_valid() -> None:
    shop = topology.load()
    assert set(shop.services) >= {
        "gateway", "users", "products", "inventory", "orders", "payments", "notifications", "bank",
    }  # fmt: skip
    numbers = shop.ports(8080)
    assert (numbers["nginx"], numbers["gateway-2"], numbers["orders-1"]) == (8080, 8091, 8130)
    assert (numbers["postgres"], numbers["recorder"], numbers["control"]) == (8170, 8176, 8177)


def test_omitted_keys_have_their_defaults() -> None:
    front = parse(GOOD).services["front"]
    assert (front.stores, front.outside, front.sends) == ((), False, "")
    assert parse(GOOD).code.program == "chassis.run"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('calls = ["back"]', 'calls = ["bakc"]', 8, "'bakc' is not a service; did you mean 'back'"),
        ('calls = ["back"]', 'calls = "back"', 8, "calls: expected a list of names, got 'back'"),
        ('calls = ["back"]', 'cals = ["back"]', 8, "unknown key 'cals'; did you mean 'calls'"),
        ('calls = ["back"]', 'consumes = ["Hapened"]', 8, "'Hapened' is not published by any"),
        ('calls = ["back"]', 'calls = ["front"]', 8, "calls itself"),
        ('stores = ["postgres"]', 'stores = ["mysql"]', 14, "'mysql' is not a store; expected one"),
        ("replicas = 2", "replicas = 11", 7, "expected 1 to 10 replicas"),
        ("replicas = 2", 'replicas = "2"', 7, "replicas: expected int, got '2'"),
        ("replicas = 2", "replicas = true", 7, "replicas: expected int, got True"),
        ("replicas = 2\n", "", 5, "replicas is missing"),
        ("offset = 20", "offset = 15", 12, "offset 15 of service back is taken by service front"),
        ("offset = 97", "offset = 96", 27, "offset 96 of control is taken by recorder"),
        ("offset = 20", "offset = 2000", 12, "offset 2000: expected 0 to 999"),
        ('balances = "front"', 'balances = "frnt"', 3, "'frnt'; did you mean 'front'"),
        ("latency_ms_p99 = 100 }", "latency = 100 }", 9, "unknown key 'latency'"),
        ("control = { offset = 97 }\n", "", 23, "expected control = { offset = ... }"),
        ("[servers]", "[serverz]", 18, "unknown key 'serverz'; did you mean 'servers'"),
        ("[services.back]", "[services.Back]", 11, "service name 'Back': expected lower-case"),
        ("offset = 10", "offset = = 10", 6, "expected TOML"),
        ("offset = 91", "offset = 91, port = 1", 20, "unknown key 'port'"),
    ],
)
def test_an_error_names_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    with pytest.raises(TopologyError) as caught:
        parse(GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"t.toml:{line}: "), caught.value
    assert re.search(re.escape(message), str(caught.value)), caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"none.toml: cannot be read: No such file"):
        topology.load(tmp_path / "none.toml")
