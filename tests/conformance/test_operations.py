"""Health, metrics, traces, documentation and logs of every service, and the edges that it declares."""

import json
import re
from typing import Any

from lab import topology
from tests.conformance.subject import SOME_ID, Conforms, Subject
from tests.docs.metrics_page import documented

TOPOLOGY = topology.load()
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SERVER = "http_server_request_duration_seconds"
DATABASE = "Every service with a database"
# only after a first call, with a collector, or on Linux
CONDITIONAL = re.compile(
    r"resilience_(in_flight|waiting|limit)|retry_|outlier_|registry_|telemetry_|process_"
)
SERVER_LABELS = {"http_request_method", "http_route", "http_response_status_code"}


async def test_operations(conforms: Conforms) -> None:
    await conforms(
        it_is_alive_and_ready,
        its_requests_are_counted_by_route_template,
        its_metrics_are_the_documented_ones,
        exemplars_come_in_openmetrics_only,
        a_trace_is_continued,
        a_broken_trace_header_starts_a_new_trace,
        its_openapi_document_is_complete,
        its_log_is_one_json_object_a_line,
        it_declares_the_services_that_it_calls,
    )


async def it_is_alive_and_ready(subject: Subject) -> None:
    for path, status in (("/health", "ok"), ("/ready", "ready")):
        answer = await subject.call("GET", path)
        assert (answer.status, answer.body) == (200, {"status": status})


async def metrics(subject: Subject) -> str:
    answer = await subject.call("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return answer.content.decode()


async def its_requests_are_counted_by_route_template(subject: Subject) -> None:
    for operation in subject.operations:
        await subject.call(operation.method, operation.some_path)  # any answer counts
    await subject.call("GET", f"/no/such/{SOME_ID}")
    text = await metrics(subject)
    series = re.findall(rf"^{SERVER}_count{{(.*)}} ([0-9.e+]+)$", text, re.MULTILINE)
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', each)) for each, _ in series]
    assert labels
    assert all(each.keys() == SERVER_LABELS for each in labels)
    seen = {(each["http_request_method"], each["http_route"]) for each in labels}
    expected = {(operation.method, operation.path) for operation in subject.operations}
    assert expected | {("GET", "unmatched")} <= seen
    assert SOME_ID not in text, "an id in a label makes one series per request"


async def its_metrics_are_the_documented_ones(subject: Subject) -> None:
    text = await metrics(subject)
    served = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    sections = {"Every service", "Every service that calls another"}
    if "postgres" in TOPOLOGY.services[subject.name].stores:
        sections.add(DATABASE)
    page = {each.name: each for each in documented()}
    undocumented = set(served) - page.keys()
    assert not undocumented, "add each metric to docs/metrics.md"
    for name, type_ in served.items():
        assert page[name].type in ("", type_), name
        listed = page[name].section in sections or subject.name in page[name].who
        assert listed, f"add {subject.name} to the row of {name} in docs/metrics.md"
    expected = {
        each.name for each in page.values() if each.section in sections or subject.name in each.who
    }
    assert {name for name in expected - served.keys() if not CONDITIONAL.match(name)} == set()


async def exemplars_come_in_openmetrics_only(subject: Subject) -> None:
    await subject.call("GET", "/no/such/path", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01")
    assert TRACE_ID not in await metrics(subject)
    answer = await subject.call("GET", "/metrics", accept="application/openmetrics-text")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    text = answer.content.decode()
    assert f'# {{trace_id="{TRACE_ID}"}}' in text
    assert text.endswith("# EOF\n")


async def a_trace_is_continued(subject: Subject) -> None:
    traceparent = f"00-{TRACE_ID}-b7ad6b7169203331-01"
    answer = await subject.call("GET", "/no/such/path", traceparent=traceparent)
    assert answer.body["trace_id"] == TRACE_ID


async def a_broken_trace_header_starts_a_new_trace(subject: Subject) -> None:
    for broken in ("junk", f"00-{'0' * 32}-b7ad6b7169203331-01", "00-xyz-1-01"):
        answer = await subject.call("GET", "/no/such/path", traceparent=broken)
        assert re.fullmatch(r"(?!0{32})[0-9a-f]{32}", answer.body["trace_id"]), broken


async def its_openapi_document_is_complete(subject: Subject) -> None:
    answer = await subject.call("GET", "/openapi.json")
    assert answer.status == 200
    document = answer.body
    assert document["openapi"].startswith("3.")
    assert document["info"]["title"]
    assert document["info"]["version"]
    assert document["paths"]
    for reference in references(document):
        resolve(document, reference)
    names = []
    for path, operations in document["paths"].items():
        assert path.startswith("/")
        for method, operation in operations.items():
            assert method in {"get", "put", "post", "delete", "patch"}, path
            assert operation["responses"], path
            assert operation.get("summary"), path
            names.append(operation["operationId"])
            parameters = operation.get("parameters", [])
            declared = {each["name"] for each in parameters if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), path
            keys = [(each["in"], each["name"].lower()) for each in parameters]
            assert len(keys) == len(set(keys)), path
    assert len(names) == len(set(names)), "operation ids are unique"
    documented = {(m.upper(), p) for p, each in document["paths"].items() for m in each}
    assert documented == {(each.method, each.path) for each in subject.operations}


async def its_log_is_one_json_object_a_line(subject: Subject) -> None:
    await subject.call("GET", "/no/such/path")
    lines = subject.service.log.read_text().splitlines()
    assert lines, "start-up is logged"
    settings = subject.service.settings
    for line in lines:
        entry = json.loads(line)
        assert {"time", "level", "message"} <= entry.keys()
        assert (entry["service"], entry["instance"]) == (settings.service, settings.instance)
        assert entry["arm"] == "control"
        assert entry["level"] in {"debug", "info", "warning", "error", "critical"}
        secrets = ("service_secret", "lab_token", "database_url", "nats_url", "valkey_url")
        for secret in (getattr(settings, each) for each in secrets):
            assert secret not in line


async def it_declares_the_services_that_it_calls(subject: Subject) -> None:
    """An undeclared call bypasses the fault proxy: no experiment could disturb it."""
    token = f"Bearer {subject.service.settings.lab_token}"
    view = await subject.call("GET", "/_lab/resilience", Authorization=token)
    edges = [edge.split("->") for edge in view.body["edges"]]
    called = {callee for caller, callee in edges if caller == subject.name}
    if subject.name != "users" and any(
        each.token_kind in ("user", "either") for each in subject.operations
    ):
        called.add("users")  # for the keys that verify its tokens, read at the first request
    declared = TOPOLOGY.services[subject.name].calls
    assert called <= set(declared), (
        f"in system/topology.toml, [services.{subject.name}]: "
        f"add {sorted(called - set(declared))} to `calls`, then run `lab render`"
    )
    assert set(declared) <= called, f"`calls` lists services that {subject.name} does not call"


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def resolve(document: dict[str, Any], reference: str) -> Any:
    """The target of a local reference. Raises KeyError if it does not exist."""
    assert reference.startswith("#/"), reference
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found
