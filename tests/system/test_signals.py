"""The signals of every service reach the archive, and every edge of the topology is in the traces."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from lab.archive import Run, seal
from lab.chaos.running_lab import find_lab
from lab.http_client import exchange
from lab.load.accounts import PASSWORD
from lab.run.evidence.recorder_client import RecorderClient
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.topology import load
from tests.fixtures.waiting import wait_until
from tests.system.test_orders import Shopper

TOPOLOGY = load()
SERVICES = TOPOLOGY.services.values()
CALLS = [(each.name, callee) for each in SERVICES for callee in each.calls]
STORES = [(each.name, store) for each in SERVICES for store in each.stores]
PUBLISHED = [(each.name, event) for each in SERVICES for event in each.publishes]
CONSUMED = [(each.name, event) for each in SERVICES for event in each.consumes]
MAILERS = [each.name for each in SERVICES if each.sends == "smtp"]
ORPHANS = """spans AS child WHERE trace_id IN
        (SELECT trace_id FROM spans WHERE name = 'POST /api/orders')
    AND parent_span_id != ''
    AND NOT EXISTS (SELECT 1 FROM spans AS parent
        WHERE parent.trace_id = child.trace_id AND parent.span_id = child.parent_span_id)"""

MAILED = """(SELECT trace_id FROM spans GROUP BY trace_id
    HAVING bool_or(name = 'POST /api/orders') AND bool_or(name = 'send mail'))"""

CALLED = """spans AS call JOIN spans AS work
    ON work.trace_id = call.trace_id AND work.parent_span_id = call.span_id
    WHERE call.service = ? AND call.kind = 'client' AND call.peer = ?
    AND work.service = call.peer AND work.kind = 'server'
    AND work.attributes->>'$."breakwater.caller"' = call.service"""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def run(session_lab: ProcessesRuntime, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A recording of one customer who uses the whole API, with newly started instances.

    Some edges are used once per process: to read keys, to register a lease.
    """
    run_dir = tmp_path_factory.mktemp("signals")
    recording = RecorderClient(find_lab(session_lab.port_base))
    recording.start(run_dir)
    try:
        for each in session_lab.status()["processes"]:
            if each["service"]:
                session_lab.kill(each["name"])
        session_lab.up()
        shop(session_lab.address("ingress") + "/api")
        wait_until(
            lambda: all_arrived(Run(run_dir)),
            "the spans of all events, orders and calls have arrived",
            30,
        )
    finally:
        recording.stop()
    seal(run_dir)
    return Run(run_dir)


def all_arrived(run: Run) -> bool:
    """Whether the last spans have arrived. Each instance exports its spans at its own time."""
    published = run.sql("SELECT count(DISTINCT name) FROM spans WHERE kind = 'producer'").fetchall()
    orders = count(run, "spans WHERE name = 'POST /api/orders'")
    return (
        published[0][0] == len(PUBLISHED)
        and (orders, count(run, ORPHANS), count(run, MAILED)) == (2, 0, 2)
        and all(count(run, CALLED, *call) for call in CALLS)
    )


def shop(api: str) -> str:
    """Register, log in, browse, order twice, cancel one order, and wait until both are mailed.

    A new service adds the requests here that use its calls, stores and events.
    """
    email = f"signals-{secrets.token_hex(4)}@example.com"
    registered = exchange(
        "POST",
        f"{api}/users",
        body={"email": email, "name": "Signals", "password": PASSWORD},
        headers={"Idempotency-Key": secrets.token_hex(8)},
        timeout_s=15,
    )
    assert registered.status == 201, registered.body
    shopper = Shopper(api, email)
    for path in ("/products", "/products/SKU-0007", "/categories", "/me"):
        assert shopper.get(path).status == 200, path
    orders = [shopper.place(sku="SKU-0007") for _ in range(2)]
    assert all(order.status in (201, 202) for order in orders), [order.body for order in orders]
    kept, cancelled = (order.body["id"] for order in orders)
    assert shopper.post(f"/orders/{cancelled}/cancel", None).status in (200, 202)

    def mailed() -> Any:
        seen = [shopper.get(f"/orders/{order_id}").body for order_id in (kept, cancelled)]
        return all(order["mails"] and not order["degraded"] for order in seen) and all(
            mail["status"] == "sent" for order in seen for mail in order["mails"]
        )

    wait_until(mailed, "both orders are mailed", 30)
    return str(kept)


def count(run: Run, query: str, *parameters: str) -> int:
    return int(run.sql(f"SELECT count(*) FROM {query}", list(parameters)).fetchall()[0][0])  # noqa: S608


@pytest.mark.parametrize("service", [each.name for each in SERVICES])
@pytest.mark.parametrize("signal", ["spans", "metrics", "logs"])
def test_the_signal_of_the_service_arrives(run: Run, service: str, signal: str) -> None:
    instances = run.sql(
        f"SELECT DISTINCT instance FROM {signal} WHERE service = ?",  # noqa: S608
        [service],
    ).fetchall()
    replicas = TOPOLOGY.services[service].replicas
    assert {name for (name,) in instances} == {f"{service}-{n}" for n in range(1, replicas + 1)}


def test_requests_come_through_the_ingress(run: Run) -> None:
    edge = """spans AS ingress JOIN spans AS work
        ON work.trace_id = ingress.trace_id AND work.parent_span_id = ingress.span_id
        WHERE ingress.service = 'nginx' AND ingress.parent_span_id = '' AND ingress.http_status = work.http_status
        AND work.service = ? AND work.kind = 'server'
        AND work.attributes->>'$."breakwater.caller"' = 'ingress'"""
    assert count(run, edge, TOPOLOGY.ingress.balances) > 0


@pytest.mark.parametrize(("caller", "callee"), CALLS, ids="->".join)
def test_the_call_is_in_the_traces_on_both_sides(run: Run, caller: str, callee: str) -> None:
    assert count(run, CALLED, caller, callee) > 0


@pytest.mark.parametrize(("service", "store"), STORES, ids="->".join)
def test_the_use_of_the_store_is_in_the_traces(run: Run, service: str, store: str) -> None:
    assert count(run, "spans WHERE service = ? AND kind = 'client' AND peer = ?", service, store)


@pytest.mark.parametrize(("service", "event"), PUBLISHED, ids="->".join)
def test_the_publication_is_in_the_traces(run: Run, service: str, event: str) -> None:
    published = "spans WHERE service = ? AND kind = 'producer' AND peer = ?"
    assert count(run, published, service, f"events.{event}") > 0


@pytest.mark.parametrize(("service", "event"), CONSUMED, ids="->".join)
def test_the_consumption_is_in_the_trace_of_the_publication(
    run: Run, service: str, event: str
) -> None:
    both = """spans AS published JOIN spans AS consumed
        ON consumed.trace_id = published.trace_id AND consumed.parent_span_id = published.span_id
        WHERE consumed.service = ? AND consumed.kind = 'consumer' AND published.kind = 'producer'
        AND published.peer = ? AND consumed.peer = published.peer"""
    assert count(run, both, service, f"events.{event}") > 0


@pytest.mark.parametrize("service", MAILERS)
def test_the_mail_is_in_the_traces(run: Run, service: str) -> None:
    assert count(run, "spans WHERE service = ? AND kind = 'client' AND peer = 'mail'", service)


def test_one_trace_goes_from_the_ingress_to_the_mail(run: Run) -> None:
    whole = """SELECT list_sort(list(DISTINCT service)), bool_or(name = 'send mail'),
            bool_or(service = 'nginx' AND parent_span_id = '')
        FROM spans GROUP BY trace_id HAVING bool_or(name = 'POST /api/orders')"""
    traces = run.sql(whole).fetchall()
    assert len(traces) == 2, traces
    services_of_an_order = {
        "nginx",
        "gateway",
        "orders",
        "products",
        "inventory",
        "payments",
        "bank",
        "notifications",
    }
    assert any(
        mailed and rooted and services_of_an_order <= set(services)
        for services, mailed, rooted in traces
    ), traces


def test_no_span_of_an_order_is_missing_its_parent(run: Run) -> None:
    assert count(run, ORPHANS) == 0


def test_the_recorder_refused_and_shed_nothing(run: Run) -> None:
    counts: dict[str, Any] = run.recorder or {}
    assert counts["refused"] == {"traces": 0, "logs": 0}
    assert not any(counts["shed"].values())
    assert Path(run.path / "spans.parquet").is_file()
