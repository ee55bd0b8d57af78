"""The policies of the edges: read from resilience.toml, switched at run time, reported as events."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from chassis.clock import SystemClock
from chassis.edge_policies import configuration, event_sink
from chassis.edge_policies.protection import EdgeProtection
from chassis.resilience.errors import CallFailedError
from chassis.resilience.events import Event
from chassis.resilience.policy import Call
from chassis.resilience.profile import PROFILES, ProfileError
from chassis.settings import Settings
from chassis.telemetry import signals
from lab.recorder.intake.log_lines import rows_of_line
from shop.gateway.admission import EDGE, AdmissionControl
from tests.chassis.echo import Echo
from tests.fixtures.waiting import wait_until_async

SETTINGS = {"SERVICE": "payments", "PORT": "1", "SERVICE_SECRET": "s" * 32}


def test_the_policies_of_every_edge_in_the_file_can_be_built() -> None:
    for edge in set(configuration.read_tables()) - {EDGE}:
        EdgeProtection(edge, "full")
    AdmissionControl("full", SystemClock())


def test_a_malformed_file_is_named_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "resilience.toml"
    bad.write_text("[default]\ntimeout = oops")
    with pytest.raises(ProfileError, match=r"resilience\.toml: .*line 2"):
        configuration.read_tables(bad)


async def _put(echo: Echo, body: dict[str, Any]) -> tuple[int, Any]:
    status, answer, _ = await echo.call("PUT", "/_lab/resilience", json=body, headers=echo.lab)
    return status, answer


async def test_profiles_and_single_switches_change_at_run_time(echo: Echo) -> None:
    assert (await _put(echo, {"profile": "none"}))[0] == 200
    chain = echo.service.clients["echo"].protection.chain
    assert chain.profile == "none"
    status, body = await _put(
        echo, {"edge": "echo->echo", "profile": "full", "switches": {"breaker": False}}
    )
    assert status == 200
    assert body["edges"]["echo->echo"]["profile"] == "full"
    breaker = chain.get("breaker")
    assert breaker is not None
    assert breaker.enabled is False


@pytest.mark.parametrize(
    "body",
    [
        {"profile": "most"},
        {"edge": "echo->unknown", "profile": "none"},
        {"edge": "echo->echo", "switches": {"brake": False}},
        {"switches": {"breaker": "off"}},
        {"policy": "breaker"},
    ],
)
async def test_an_unknown_switch_changes_nothing(echo: Echo, body: dict[str, Any]) -> None:
    before = _switches(echo)
    status, problem = await _put(echo, body)
    assert status == 400
    assert "expected" in problem["detail"] or "no edge" in problem["detail"]
    assert _switches(echo) == before


def _switches(echo: Echo) -> tuple[str, list[bool]]:
    chain = echo.service.clients["echo"].protection.chain
    return chain.profile, [policy.enabled for policy in chain]


def _fails(times: int) -> Any:
    """An attempt that fails `times` times, then returns the number of attempts."""
    made = 0

    async def attempt(_: Call) -> int:
        nonlocal made
        made += 1
        if made <= times:
            raise CallFailedError("no", retryable=True)
        return made

    return attempt


@pytest.fixture
def stale_edge(monkeypatch: pytest.MonkeyPatch) -> str:
    quick = {"max_attempts": 3, "backoff_base_s": 0.0}
    table = {"a->b": {"fallback": {"age_s_max": 60.0}, "retry": quick, "breaker": False}}
    monkeypatch.setattr(configuration, "read_tables", lambda: table)
    return "a->b"


async def test_a_failed_call_gets_the_last_good_answer_to_the_same_key(stale_edge: str) -> None:
    edge = EdgeProtection(stale_edge, "full")
    assert await edge.run(_fails(0), Call(stale_edge, idempotent=True, key="p1")) == 1
    assert await edge.run(_fails(99), Call(stale_edge, idempotent=True, key="p1")) == 1
    with pytest.raises(CallFailedError):
        await edge.run(_fails(99), Call(stale_edge, idempotent=True, key="p2"))
    with pytest.raises(CallFailedError):
        await edge.run(_fails(99), Call(stale_edge, idempotent=True))


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "full"])
async def test_below_full_there_are_no_stale_answers_and_no_ejections(
    stale_edge: str, profile: str
) -> None:
    edge = EdgeProtection(stale_edge, profile)
    call = Call(stale_edge, idempotent=True, key="p1")
    await edge.run(_fails(0), call)
    with pytest.raises(CallFailedError):
        await edge.run(_fails(99), Call(stale_edge, idempotent=True, key="p1"))
    assert not edge.ejects(Call(stale_edge))
    edge.use("full")
    assert edge.ejects(Call(stale_edge))


async def test_retries_alone_have_no_budget_and_full_has_one(stale_edge: str) -> None:
    for profile, retried in (("retries", 40), ("full", 10)):
        edge = EdgeProtection(stale_edge, profile)
        for _ in range(20):
            with pytest.raises(CallFailedError):
                await edge.run(_fails(99), Call(stale_edge, idempotent=True))
        retry = edge.chain.get("retry")
        assert retry is not None
        assert retry.snapshot()["retried"] == retried


def test_a_bad_table_beside_the_chain_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, table in (("fallback", {"age": 1}), ("outlier", {"share_max": 2.0})):
        monkeypatch.setattr(
            configuration, "read_tables", lambda kind=kind, table=table: {"a->b": {kind: table}}
        )
        with pytest.raises(ProfileError, match=f"a->b: {kind}: "):
            EdgeProtection("a->b", "full")


def test_a_decision_is_counted_and_becomes_a_complete_row_of_the_archive(
    capsys: pytest.CaptureFixture[str],
) -> None:
    signals.start(Settings.from_env(SETTINGS)).shutdown()
    labels = {"edge": "payments->bank", "policy": "outlier", "kind": "ejection", "reason": "slow"}
    before = REGISTRY.get_sample_value("resilience_events_total", labels) or 0.0
    event = Event(
        1.0, "payments->bank", "outlier", "ejection",
        reason="slow", n=2, failures=1, wait_s=5.0, host="bank-2",
    )  # fmt: skip
    event_sink.record(event)
    assert REGISTRY.get_sample_value("resilience_events_total", labels) == before + 1
    table, row, _ = rows_of_line(capsys.readouterr().out.strip().encode(), "payments-1", 0.0)
    fields = json.loads(row)
    assert table == "breakers"
    assert {name: fields[name] for name in ("service", "instance", "edge", "policy", "kind")} == {
        "service": "payments", "instance": "payments-1", "edge": "payments->bank",
        "policy": "outlier", "kind": "ejection",
    }  # fmt: skip
    assert (fields["reason"], fields["n"], fields["failures"], fields["slow"]) == ("slow", 2, 1, 0)
    assert fields["details"] == {"arm": "control", "wait_s": 5.0, "host": "bank-2"}


def evaluated(n: int) -> Event:
    return Event(1.0, "payments->bank", "breaker", "evaluation", state="closed", n=n, failures=1)


def logged(text: str) -> list[tuple[str, list[int]]]:
    """The event of each line, and the `n` of its evaluations."""
    lines = map(json.loads, text.splitlines())
    return [(line["event"], [row[4] for row in line.get("rows", ())]) for line in lines]


async def test_evaluations_are_collected_into_one_line_without_a_trace_id(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sink, "EVALUATIONS_S_MAX", 0.05)
    signals.start(Settings.from_env(SETTINGS)).shutdown()
    with TracerProvider().get_tracer("test").start_as_current_span("GET /x"):
        for n in (1, 2, 3):
            event_sink.record(evaluated(n))
    assert capsys.readouterr().out == ""
    written = await wait_until_async(lambda: capsys.readouterr().out.splitlines(), "the line")
    assert logged(written[0]) == [("evaluations", [1, 2, 3])]
    assert "trace_id" not in json.loads(written[0])
    table, lines, count = rows_of_line(written[0].encode(), "payments-1", 0.0)
    assert (table, count) == ("breakers", 3)
    row = json.loads(lines.splitlines()[2])
    assert row.pop("time_s") == pytest.approx(time.time(), abs=5)
    assert row == {
        "service": "payments", "instance": "payments-1", "edge": "payments->bank", "policy": "breaker",
        "kind": "evaluation", "state": "closed", "previous": "", "reason": "", "n": 3, "failures": 1,
        "slow": 0, "details": {"arm": "control"},
    }  # fmt: skip


async def test_evaluations_are_written_before_the_decision_and_in_short_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    signals.start(Settings.from_env(SETTINGS)).shutdown()
    for n in range(event_sink.EVALUATIONS_MAX + 2):
        event_sink.record(evaluated(n))
    event_sink.record(
        Event(1.0, "payments->bank", "breaker", "transition", state="open", previous="closed")
    )
    text = capsys.readouterr().out
    first, rest, transition = logged(text)
    limit = event_sink.EVALUATIONS_MAX
    assert (first[1], rest[1]) == ([*range(limit)], [limit, limit + 1])
    assert transition == ("breaker", [])
    assert max(map(len, text.splitlines())) < 16_000, "Docker would split the line"


def test_a_decision_is_an_event_and_an_attribute_of_the_current_span() -> None:
    seen = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    with provider.get_tracer("test").start_as_current_span("GET /x"):
        event_sink.record(Event(1.0, "a->b", "breaker", "evaluation", state="closed", n=3))
        event_sink.record(
            Event(1.0, "a->b", "breaker", "rejection", state="open", reason="open", wait_s=2.0)
        )
    (span,) = seen.get_finished_spans()
    assert span.attributes == {"breakwater.breaker.rejection": "open"}
    (event,) = span.events
    assert event.name == "breaker.rejection"
    assert event.attributes is not None
    assert event.attributes["wait_s"] == 2.0
    assert event.attributes["edge"] == "a->b"


@pytest.mark.parametrize(
    ("echo", "seen"),
    [({"lab_token": "lab-token"}, "resilience=none"), ({"lab_token": ""}, "")],
    indirect=["echo"],
)
async def test_the_lab_header_is_used_and_passed_on_in_a_lab_only(echo: Echo, seen: str) -> None:
    headers = {"Breakwater-Lab": "resilience=none"}
    status, body, _ = await echo.call("GET", "/echo", headers=headers)
    assert (status, body["lab"]) == (200, seen)
