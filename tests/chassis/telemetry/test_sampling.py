"""With a sampling ratio of 0.1 every service samples the same traces, whatever its caller decided."""

import json
import os
import subprocess
import sys
from random import Random

from lab.topology import PROJECT

ROOT = PROJECT
TRACES = 3000
DECIDE = """
import json, os, sys
from opentelemetry.trace import SpanKind
from chassis.telemetry import signals
from chassis.settings import Settings

signals.start(Settings.from_env(os.environ))
kept = []
for trace_id in json.load(sys.stdin):
    # as nginx sends it: always marked as sampled
    caller = signals.propagator.extract({"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
    with signals.tracer().start_as_current_span("work", caller, SpanKind.SERVER) as span:
        if span.is_recording():
            kept.append(trace_id)
json.dump(kept, sys.stdout)
"""


def kept(service: str, trace_ids: list[str], **env: str) -> list[str]:
    env = {
        "SERVICE": service,
        "INSTANCE": f"{service}-1",
        "PORT": "8200",
        "SERVICE_SECRET": "x",
        **env,
    }
    decided = subprocess.run(
        [sys.executable, "-c", DECIDE], input=json.dumps(trace_ids), text=True, check=True,
        capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "system")} | env,
    )  # fmt: skip
    return list(json.loads(decided.stdout))


def test_every_service_samples_the_same_tenth_of_the_traces() -> None:
    rng = Random(7)
    trace_ids = [f"{rng.getrandbits(128):032x}" for _ in range(TRACES)]
    tenth = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    orders = kept("orders", trace_ids, **tenth)
    # 99.9% of the binomial distribution: 300 +- 54
    assert 246 <= len(orders) <= 354, "seed 7"
    assert kept("bank", trace_ids, **tenth) == orders


def test_without_a_sampler_all_traces_are_sampled_and_with_the_sdk_disabled_none() -> None:
    trace_ids = [f"{n + 1:032x}" for n in range(50)]
    assert kept("orders", trace_ids) == trace_ids
    assert kept("orders", trace_ids, OTEL_SDK_DISABLED="true") == []
