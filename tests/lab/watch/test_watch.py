"""The watch with real servers: all documented metrics, stopped servers, alerts as log lines."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from chassis.messaging.bus import Bus, connect, ensure_streams
from lab.httpd import HttpError, Request
from lab.recorder.intake.log_lines import rows_of_line
from lab.watch.alerts import Alerts
from lab.watch.page import Page
from lab.watch.stores import Stores
from tests.docs.metrics_page import documented
from tests.fixtures.servers import free_port

DOCUMENTED = {each.name: each for each in documented() if each.section.startswith("The stores")}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def metrics_of(stores: Stores) -> dict[str, str]:
    """Returns the values by series."""
    try:
        text = await stores.metrics()
    finally:
        await stores.close()
    return dict(re.findall(r"^(\w+{.*}) (\S+)$", text, re.MULTILINE))


async def test_real_servers_have_every_documented_metric(
    postgres: str, valkey: str, nats: str, nats_monitoring: str, database: Any
) -> None:
    session = await asyncpg.connect(database("watched"))
    client = await connect(nats, "test")
    await ensure_streams(Bus(client).js)
    await Bus(client).js.pull_subscribe("events.X", durable="reader")
    found = await metrics_of(Stores(postgres, valkey, nats_monitoring))
    await client.close()
    await session.close()
    assert {name.partition("{")[0] for name in found} == DOCUMENTED.keys()
    for name in found:
        labels = re.findall(r'(\w+)="', name)
        assert sorted(labels) == sorted(DOCUMENTED[name.partition("{")[0]].labels)
    assert found["postgres_up{}"] == found["valkey_up{}"] == found["nats_up{}"] == "1"
    assert found["postgres_connections_max{}"] == "300"
    assert any(name.startswith('postgres_database_bytes{database="watched_') for name in found)
    assert 'nats_consumer_pending{stream="EVENTS",consumer="reader"}' in found


async def test_a_stopped_server_has_only_its_up_metric(valkey: str) -> None:
    unused = free_port()
    stores = Stores(f"postgresql://u:p@127.0.0.1:{unused}/x", valkey, f"http://127.0.0.1:{unused}")
    found = await metrics_of(stores)
    assert (found["postgres_up{}"], found["valkey_up{}"], found["nats_up{}"]) == ("0", "1", "0")
    assert not any(name.startswith(("postgres_conn", "nats_conn")) for name in found)


def alert(name: str = "MailsWait", **more: Any) -> dict[str, Any]:
    labels = {"alertname": name, "severity": "ticket", "service": "notifications"}
    return {"labels": labels, "annotations": {"summary": "7 mails wait"}, **more}


def test_repeated_alerts_are_logged_only_when_they_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alerts = Alerts(now=lambda: NOW)
    lasting = alert(
        startsAt="2026-01-01T00:00:00Z", endsAt=(NOW + timedelta(seconds=8)).isoformat()
    )
    ended = alert(endsAt=(NOW - timedelta(seconds=1)).isoformat())
    assert [alerts.take([each]) for each in (lasting, lasting)] == [1, 0]
    assert [each["labels"]["alertname"] for each in alerts.firing] == ["MailsWait"]
    assert [alerts.take([each]) for each in (ended, ended)] == [1, 0]
    assert alerts.firing == []
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["state"], each["level"]) for each in lines] == [
        ("firing", "warning"), ("resolved", "info"),
    ]  # fmt: skip


def test_alertmanagers_webhook_becomes_a_row_of_the_archive(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alerts = Alerts(now=lambda: NOW)
    message = {"version": "4", "status": "firing", "alerts": [alert(status="firing")]}
    assert alerts.take(message) == 1
    table, line, _ = rows_of_line(capsys.readouterr().out.strip().encode(), "watch", 0.0)
    row = json.loads(line)
    assert table == "logs"
    assert (row["time_s"], row["level"], row["instance"]) == (NOW.timestamp(), "warning", "watch")
    assert row["message"] == "MailsWait firing: 7 mails wait"
    assert row["attributes"]["labels"] == {"severity": "ticket", "service": "notifications"}


@pytest.mark.parametrize(
    "bad",
    [{}, [], {"alerts": 1}, [1], [{"labels": {}}], [{"labels": {"alertname": 3}}], "x", None,
     [alert(endsAt="soon")]],
)  # fmt: skip
def test_invalid_alerts_are_refused(bad: Any) -> None:
    alerts = Alerts(now=lambda: NOW)
    if bad == []:  # an empty list is valid
        assert alerts.take(bad) == 0
        return
    with pytest.raises(HttpError) as refused:
        alerts.take(bad)
    assert refused.value.status == 400


async def test_alerts_require_the_labs_token(valkey: str) -> None:
    page = Page(Stores("postgresql://x", valkey, "http://x"), token="secret")
    body = json.dumps([alert()]).encode()

    def post(given: str) -> Request:
        return Request("POST", "/api/v2/alerts", {}, {"authorization": given}, body)

    with pytest.raises(HttpError) as refused:
        await page.answer(post("Bearer guess"))
    assert refused.value.status == 401
    assert json.loads((await page.answer(post("Bearer secret"))).body) == {"news": 1}
    firing = await page.answer(Request("GET", "/alerts", {}, {}, b""))
    assert len(json.loads(firing.body)["firing"]) == 1
