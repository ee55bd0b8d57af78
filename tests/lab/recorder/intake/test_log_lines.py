"""Every kind of decision of a policy: from the service's log through a real recorder to its row."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from chassis.edge_policies import event_sink
from chassis.resilience import (
    Call,
    CallError,
    CallFailedError,
    FakeClock,
    Kind,
    LoadShedder,
    OutlierEjection,
    StaleFallback,
    build,
)
from chassis.settings import Settings
from chassis.telemetry import signals
from lab import archive
from lab.recorder.intake.log_lines import rows_of_line
from tests.fixtures.waiting import wait_until
from tests.lab.recorder.recorder_process import RecorderProcess, rows

SETTINGS = {
    "SERVICE": "payments",
    "INSTANCE": "payments-1",
    "PORT": "1",
    "SERVICE_SECRET": "s" * 32,
}
LONGEST = 1000.0


class Scenes:
    """Each method makes a policy decide, on a separate edge."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def edge(self, name: str, **spec: Any) -> Any:
        bare = {"retry": False, "budget": False, "breaker": False, "bulkhead": False}
        chain = build(
            f"payments->{name}", {**bare, "timeout": {"seconds": LONGEST}, **spec},
            clock=self.clock, rng=random.Random(1), listener=event_sink.record,
        )  # fmt: skip

        async def run(*scripts: tuple[float, bool], **call: Any) -> None:
            """The calls at once, each by its script: seconds to take, whether it ends well."""
            copies = iter(scripts)

            async def attempt(_: Call) -> str:
                seconds, good = next(copies, (0.0, True))
                await self.clock.sleep(seconds)
                if not good:
                    raise CallFailedError("no", status=503, retryable=True)
                return "ok"

            with suppress(CallError):
                await chain.run(attempt, Call(chain.edge, **{"idempotent": True, **call}))

        return run

    async def breaker(self) -> None:
        run = self.edge("breaker", breaker={"window_size": 2, "minimum_calls": 2})
        for _ in range(3):
            await run((0.9, False))

    async def retry(self) -> None:
        run = self.edge("retry", retry={"max_attempts": 2})
        await run((0, False), (0, False))

    async def timeout(self) -> None:
        run = self.edge("timeout", timeout={"seconds": 0.5})
        await run((1, True))
        await run((1, True), deadline=self.clock.monotonic() - 1)

    async def hedge(self) -> None:
        run = self.edge("hedge", hedge={"delay_s": 0.1})
        await run((1, True), (0, True))

    async def bulkhead(self) -> None:
        run = self.edge("bulkhead", bulkhead={"permits": 1, "queue": 0})
        await asyncio.gather(run((1, True)), run((1, True)))

    async def rate_limiter(self) -> None:
        run = self.edge("rate_limiter", rate_limiter={"rate_per_s": 1, "burst": 1})
        for _ in range(2):
            await run()

    async def consecutive(self) -> None:
        run = self.edge("consecutive", consecutive={"run_length": 1})
        for _ in range(2):
            await run((0, False))

    async def throttle(self) -> None:
        run = self.edge("throttle", throttle={"k": 1.0})
        for _ in range(30):
            await run((0, False))

    async def adaptive_limit(self) -> None:
        table = {"algorithm": "aimd", "initial": 2, "least": 1, "most": 9}
        run = self.edge("adaptive_limit", adaptive_limit=table)
        for _ in range(20):
            await asyncio.gather(*(run((0.3, False)) for _ in range(4)))

    async def fallback(self) -> None:
        stale = StaleFallback(clock=self.clock, listener=event_sink.record)

        async def good(_: Call) -> str:
            return "ok"

        async def bad(_: Call) -> str:
            raise CallFailedError("no")

        for attempt in (good, bad):
            await stale.run(attempt, Call("payments->fallback", key="p1"))

    async def outlier(self) -> None:
        ejection = OutlierEjection(
            "payments->outlier",
            consecutive=1,
            probes=1,
            clock=self.clock,
            listener=event_sink.record,
        )
        ejection.available(["bank-1", "bank-2"])
        ejection.record("bank-1", ejection.admit("bank-1"), False, 0.1)
        await self.clock.sleep(31)
        ejection.record("bank-1", ejection.admit("bank-1"), True, 0.1)

    async def shed(self) -> None:
        shedder = LoadShedder(
            "payments->shed", capacity=1, clock=self.clock, listener=event_sink.record
        )
        shedder.admit(2)
        with suppress(CallError):
            shedder.admit(0)


SCENES = [name for name in vars(Scenes) if not name.startswith("_") and name != "edge"]
# The kinds of decision that each policy must log at least once.
EXPECTED = {
    "breaker": {"evaluation", "transition", "rejection"},
    "consecutive": {"evaluation", "transition", "rejection"},
    "retry": {"attempt", "give_up"},
    "timeout": {"timeout", "rejection"},
    "hedge": {"hedge"},
    "bulkhead": {"rejection"},
    "rate_limiter": {"rejection"},
    "throttle": {"rejection"},
    "adaptive_limit": {"limit", "rejection"},
    "fallback": {"fallback"},
    "outlier": {"ejection", "probation", "readmission"},
    "shed": {"shed"},
}


def test_the_scenes_are_all_policies_and_the_kinds_all_kinds() -> None:
    assert set(SCENES) == set(EXPECTED)
    assert set().union(*EXPECTED.values()) == set(get_args(Kind))


def test_every_kind_of_decision_is_a_row_a_metric_and_an_attribute(
    recorder: RecorderProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signals.start(Settings.from_env(SETTINGS)).shutdown()
    seen = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    run_dir = tmp_path / "run"
    recorder.start(run_dir)
    for name in SCENES:
        clock = FakeClock()
        scene: Callable[[], Coroutine[Any, Any, None]] = getattr(Scenes(clock), name)
        with provider.get_tracer("test").start_as_current_span(name):
            clock.run(scene())
    event_sink.flush()
    said = capsys.readouterr().out.encode()
    recorder.write("payments-1", said)
    decided = sum(len(json.loads(line).get("rows", "1")) for line in said.splitlines())
    wait_until(lambda: len(rows(run_dir, "breakers")) == decided, "every event is a row")
    recorder.stop()
    archive.seal(run_dir)
    assert (run_dir / "breakers.parquet").exists()
    assert not (run_dir / "breakers.ndjson").exists()

    kinds_by_policy: dict[str, set[str]] = {}
    for row in rows(run_dir, "breakers"):
        assert row["edge"] == f"payments->{row['policy']}"
        assert (row["service"], row["instance"]) == ("payments", "payments-1")
        assert row["reason"] or row["kind"] in ("evaluation", "limit"), row
        kinds_by_policy.setdefault(row["policy"], set()).add(row["kind"])
        labels = {name: row[name] for name in ("edge", "policy", "kind", "reason")}
        assert REGISTRY.get_sample_value("resilience_events_total", labels), labels
    assert kinds_by_policy == EXPECTED

    attributes = {span.name: set(span.attributes or ()) for span in seen.get_finished_spans()}
    for policy, kinds in EXPECTED.items():
        expected = {f"breakwater.{policy}.{kind}" for kind in kinds - {"evaluation"}}
        assert attributes[policy] == expected, policy


def test_a_transition_has_reason_and_counts_and_an_attempt_its_number_and_pause(
    recorder: RecorderProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signals.start(Settings.from_env(SETTINGS)).shutdown()
    run_dir = tmp_path / "run"
    recorder.start(run_dir)
    for name in ("breaker", "retry"):
        clock = FakeClock()
        clock.run(getattr(Scenes(clock), name)())
    recorder.write("payments-1", capsys.readouterr().out.encode())
    recorder.stop()
    by_kind = {(row["policy"], row["kind"]): row for row in rows(run_dir, "breakers")}
    opened = by_kind["breaker", "transition"]
    assert (opened["previous"], opened["state"], opened["reason"]) == (
        "closed", "open", "failure_rate",
    )  # fmt: skip
    assert (opened["n"], opened["failures"], opened["slow"]) == (2, 2, 2)
    assert json.loads(by_kind["breaker", "rejection"]["details"])["wait_s"] == 5.0
    attempt = json.loads(by_kind["retry", "attempt"]["details"])
    assert attempt["attempt"] == 2
    assert 0 < attempt["wait_s"] < 0.5
    assert by_kind["retry", "give_up"]["reason"] == "attempts"


def test_a_line_that_is_not_json_has_a_level_too() -> None:
    table, row, count = rows_of_line(b"WARNING:  Exceeded concurrency limit.\n", "recorder", 1.0)
    assert (table, count, json.loads(row)["level"]) == ("logs", 1, "raw")


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (1.5, 1.5),
        ("1.5", 1.5),
        ("0", 0.0),
        ("1970-01-01T00:00:01.500Z", 1.5),
        ("1970-01-01T01:00:01.500000000+01:00", 1.5),
        ("1970-01-01T00:00:01", None),
        ("noon", None),
        ("nan", None),
        (True, None),
        (10**400, None),
        ([], None),
        (None, None),
    ],
)
def test_a_time_may_be_text_and_one_that_cannot_be_read_is_kept(
    time: object, seconds: float | None
) -> None:
    line = json.dumps({"time": time, "message": "x", "trace_id": "AB"}).encode()
    table, row, _ = rows_of_line(line, "orders-1", 7.0)
    read = json.loads(row)
    assert (table, read["time_s"]) == ("logs", 7.0 if seconds is None else seconds)
    kept = {"time": time} if seconds is None and time is not None else {}
    assert (read["attributes"], read["trace_id"]) == (kept, "ab")
