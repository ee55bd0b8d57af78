"""A use of a store is a span in its caller's trace, with its own times, sent to the collector."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from lab.topology import PROJECT
from tests.chassis.telemetry.test_span_export import collecting
from tests.fixtures.servers import free_port

ROOT = PROJECT
WORK = """
import os, time
from chassis.telemetry import signals
from chassis.settings import Settings

provider = signals.start(Settings.from_env(os.environ))
store = {"peer.service": "postgres", "db.system.name": "postgresql"}
signals.end_span(signals.store_span("outside a trace", store))
with signals.tracer().start_as_current_span("caller"):
    well = signals.store_span("well", store)
    time.sleep(0.02)  # the length of the span
    signals.end_span(well)
    signals.end_span(signals.store_span("failed", store), failed=True)
provider.shutdown()
"""


def spans_of(**env: str) -> dict[str, Any]:
    """The spans that a collector gets from WORK, by name."""
    port = free_port()
    env = {
        "SERVICE": "orders",
        "INSTANCE": "orders-1",
        "PORT": "8200",
        "SERVICE_SECRET": "x",
        **env,
    }
    env |= {"OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "PYTHONPATH": str(ROOT / "system")}
    with collecting(port) as collector:
        subprocess.run([sys.executable, "-c", WORK], check=True, env=os.environ | env, timeout=60)
    requests = [ExportTraceServiceRequest.FromString(body) for body in collector.bodies]
    return {
        span.name: (group.resource, scope.scope, span)
        for request in requests
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    }


def test_it_is_a_child_of_the_current_span_with_its_own_times_and_outcome() -> None:
    spans = spans_of()
    assert set(spans) == {"caller", "well", "failed"}, "no span outside a trace"
    resource, scope, caller = spans["caller"]
    for name in ("well", "failed"):
        its_resource, its_scope, span = spans[name]
        assert (its_resource, its_scope) == (resource, scope)
        assert span.trace_id == caller.trace_id
        assert span.parent_span_id == caller.span_id
        assert span.kind == span.SPAN_KIND_CLIENT
        attributes = {each.key: each.value.string_value for each in span.attributes}
        assert attributes == {"peer.service": "postgres", "db.system.name": "postgresql"}
        assert caller.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= caller.end_time_unix_nano
    well, failed = spans["well"][2], spans["failed"][2]
    assert well.span_id != failed.span_id
    assert well.end_time_unix_nano - well.start_time_unix_nano >= 20e6
    assert well.status.code == Status.STATUS_CODE_UNSET
    assert failed.status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(
    "env", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_SAMPLER": "always_off"}], ids=json.dumps
)
def test_there_is_none_if_the_trace_is_not_sampled(env: dict[str, str]) -> None:
    assert spans_of(**env) == {}
