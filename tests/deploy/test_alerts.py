"""Each alert fires on its symptom, given as series that services export, and is silent otherwise.

Series have promtool's form: `a+bxn` starts at a and grows by b, n times, here every two seconds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.topology import PROJECT
from tests.deploy.promtool import accepts, holds

pytestmark = pytest.mark.slow

RULES = PROJECT / "system" / "deploy" / "rules"
FILES = sorted(RULES.glob("*.yml"))
ALERTS = re.findall(r"- alert: (\w+)", (RULES / "alerts.yml").read_text())

SERVER = "http_server_request_duration_seconds"
CLIENT = "http_client_request_duration_seconds"


def served(
    status: str, per_2s: float, le: str = "0.05", instance: str = "orders-1"
) -> dict[str, str]:
    """Series of `per_2s` answers every two seconds, each within `le` seconds."""
    labels = (
        f'job="shop",service="orders",instance="{instance}",arm="control",'
        f'http_request_method="POST",http_route="/orders",http_response_status_code="{status}"'
    )
    grow = f"0+{per_2s:g}x90"
    series = {f"{SERVER}_count{{{labels}}}": grow}
    for bound in ("0.05", "0.5", "1.0", "2.5", "+Inf"):
        within = bound == "+Inf" or float(bound) >= float(le)
        series[f'{SERVER}_bucket{{{labels},le="{bound}"}}'] = grow if within else "0+0x90"
    return series


def called(edge: str, per_2s: float, error: str = "", status: str = "200") -> dict[str, str]:
    labels = f'edge="{edge}",error_type="{error}",http_response_status_code="{status}"'
    return {f"{CLIENT}_count{{{labels}}}": f"0+{per_2s:g}x90"}


RETRIES = 'resilience_events_total{edge="gateway->products",policy="retry",kind="attempt"}'
LAG = 'event_loop_lag_seconds_bucket{service="orders",instance="orders-1",'
DROPPED = 'telemetry_spans_total{service="orders",instance="orders-1",result="dropped"}'
UP = 'up{job="shop",service="orders",instance="orders-1"}'
STARTED = 'process_start_time_seconds{job="shop",service="orders",instance="orders-1"}'

# alert -> series that make it fire within a minute
SYMPTOMS: dict[str, dict[str, str]] = {
    "AvailabilityBurnsFast": served("200", 18) | served("500", 2),
    "AvailabilityBurnsSlowly": served("200", 99) | served("500", 1),
    "LatencyBurnsFast": served("200", 16) | served("201", 4, le="2.5"),
    "LatencyBurnsSlowly": served("200", 90) | served("201", 10, le="2.5"),
    "BankSlow": called("payments->bank", 8) | called("payments->bank", 2, "TimedOut", ""),
    "BankGone": {'registry_instances{callee="bank",service="payments"}': "1x4 0x90"},
    "InstanceCrashed": {STARTED: "100x20 140x90"},
    "InstanceDown": {UP: "1x5 0x90"},
    "SlowInstance": served("200", 10) | served("200", 10, le="1.0", instance="orders-2"),
    "RetryStorm": called("gateway->products", 40) | {RETRIES: "0+12x90"},
    "BreakerOpen": {'breaker_state{edge="payments->bank",service="payments"}': "0x5 2x90"},
    "EdgeCut": called("orders->payments", 1) | called("orders->payments", 9, "CallFailed", ""),
    "LoadShed": {'resilience_events_total{service="gateway",edge="ingress->gateway",kind="shed"}': "0+3x90"},
    "LoopBlocked": {LAG + 'le="0.25"}': "0+1x90", LAG + 'le="0.5"}': "0+20x90", LAG + 'le="+Inf"}': "0+20x90"},
    "ClockSkewed": {'clock_seconds{service="orders",instance="orders-1"}': "600+2x90"},
    "DatabaseDown": {'postgres_up{job="stores"}': "1x5 0x90"},
    "DatabasePoolExhausted": {'db_pool_waiting{service="orders",instance="orders-1"}': "0x5 4x90"},
    "DatabaseLocked": {'postgres_locks_waiting{database="orders"}': "0x5 2x90"},
    "CacheDown": {'cache_lookups_total{service="products",result="down"}': "0x5 0+5x90"},
    "BrokerDown": {'broker_connected{service="orders",instance="orders-1"}': "1x5 0x90"},
    "OutboxStuck": {'outbox_oldest_age_seconds{service="orders",instance="orders-1"}': "0x5 0+2x90"},
    "EventsUnread": {'inbox_lag{service="notifications",instance="notifications-1"}': "0x5 80x90"},
    "DeadLetters": {'inbox_events_total{service="notifications",type="OrderConfirmed",result="dead"}': "0x5 1x90"},
    "MailsWait": {'mails_pending{service="notifications"}': "0x5 40x90"},
    "OrdersPending": {'saga_pending{service="orders",instance="orders-1"}': "0x5 30x90"},
    "PaymentsInDoubt": {'payments_in_doubt{service="payments"}': "0x5 3x90"},
    "TelemetryShed": {DROPPED: "0x5 0+50x90"},
}  # fmt: skip

HEALTHY: dict[str, str] = {
    **served("200", 40), **served("409", 4), **served("200", 38, instance="orders-2"),
    **called("payments->bank", 20), **called("gateway->products", 40, "CancelledError", ""),
    RETRIES: "0+0x90", UP: "1x90", STARTED: "100x90",
    LAG + 'le="0.25"}': "0+20x90", LAG + 'le="0.5"}': "0+20x90", LAG + 'le="+Inf"}': "0+20x90",
    'registry_instances{callee="bank",service="payments"}': "1x90",
    'breaker_state{edge="payments->bank",service="payments"}': "0x90",
    'clock_seconds{service="orders",instance="orders-1"}': "0+2x90",
    'postgres_up{job="stores"}': "1x90", 'valkey_up{job="stores"}': "1x90", 'nats_up{job="stores"}': "1x90",
    'broker_connected{service="orders",instance="orders-1"}': "1x90",
    'db_pool_waiting{service="orders",instance="orders-1"}': "0x5 7 0x90",  # a short queue is no alert
    'postgres_locks_waiting{database="orders"}': "0x5 2 0x90",
    'cache_lookups_total{service="products",result="hit"}': "0+50x90",
    'outbox_oldest_age_seconds{service="orders",instance="orders-1"}': "0.1x90",
    'inbox_lag{service="notifications",instance="notifications-1"}': "3x90",
    'inbox_events_total{service="notifications",type="OrderConfirmed",result="handled"}': "0+9x90",
    'mails_pending{service="notifications"}': "2x90",
    'saga_pending{service="orders",instance="orders-1"}': "4x90",
    'payments_in_doubt{service="payments"}': "0x5 1 0x90",
    'telemetry_spans_total{service="orders",instance="orders-1",result="exported"}': "0+500x90",
}  # fmt: skip


def expecting(
    series: dict[str, str], expression: str, samples: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "interval": "2s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": "60s", "exp_samples": samples},
        ],
    }  # fmt: skip


def test_the_files_are_valid_rules() -> None:
    accepts("check", "rules", *FILES)


def test_prometheus_accepts_the_committed_configuration() -> None:
    accepts("check", "config", "--syntax-only", RULES.parent / "prometheus.yml")


def test_every_alert_has_a_symptom_and_a_runbook() -> None:
    assert sorted(SYMPTOMS) == sorted(ALERTS)
    page = (RULES.parents[2] / "docs" / "alerts.md").read_text()
    sections = {
        section.partition("\n")[0].lower().replace(" ", "-"): section
        for section in page.split("\n## ")[1:]
    }
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    for rule in [rule for group in groups for rule in group["rules"]]:
        notes = rule["annotations"]
        document, _, anchor = notes["runbook"].partition("#")
        assert document == "docs/alerts.md"
        assert f"`{rule['alert']}`" in sections[anchor], rule["alert"]
        assert notes["summary"], rule["alert"]
        assert notes["description"].endswith("."), rule["alert"]


@pytest.mark.parametrize("alert", ALERTS)
def test_the_alert_fires_on_its_symptom(alert: str, tmp_path: Path) -> None:
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing",severity!="",symptom!=""}}) > bool 0'
    holds(tmp_path, FILES, [expecting(SYMPTOMS[alert], firing, [{"value": 1}])])


def test_a_healthy_lab_fires_no_alert(tmp_path: Path) -> None:
    """Orders refused as out of stock, a short queue and cancelled hedges are not alerts."""
    names = "count by (alertname) (ALERTS)"
    holds(tmp_path, FILES, [expecting(HEALTHY, names, [])])


def test_the_burn_rate_is_the_error_share_divided_by_the_allowed_share(tmp_path: Path) -> None:
    """1 % errors against an objective of 99.9 % burn ten times too fast. No error is a rate of 0, not a gap."""
    burn = 'round(slo:availability:burn60s{service="orders"}, 0.01)'
    some = served("200", 99) | served("500", 1)
    tests = [
        expecting(some, burn, [{"labels": '{service="orders"}', "value": 10}]),
        expecting(served("200", 9), burn, [{"labels": '{service="orders"}', "value": 0}]),
    ]
    slow = 'round(slo:latency:burn60s{service="orders"}, 0.01)'
    late = served("200", 95) | served("201", 5, le="2.5")
    tests.append(expecting(late, slow, [{"labels": '{service="orders"}', "value": 5}]))
    holds(tmp_path, FILES, tests)
