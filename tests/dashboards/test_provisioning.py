"""Grafana's provisioning refers only to data sources and host names that exist."""

import re
from typing import Any

import yaml

from lab.recorder import loki
from lab.topology import PROJECT
from tests.dashboards.reading import STEMS

FOLDER = PROJECT / "dashboards" / "provisioning"


def provisioned(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / kind / "breakwater.yaml").read_text())
    assert content["apiVersion"] == 1
    return content


def sources() -> dict[str, dict[str, Any]]:
    return {each["uid"]: each for each in provisioned("datasources")["datasources"]}


def test_prometheus_is_the_default_source_and_no_source_is_editable() -> None:
    assert [uid for uid, each in sources().items() if each.get("isDefault")] == ["prometheus"]
    for each in sources().values():
        assert {"name", "uid", "type", "access", "url", "editable"} <= set(each)
        assert each["access"] == "proxy"
        assert each["editable"] is False


def test_exemplars_link_to_traces_and_logs_and_traces_link_to_metrics() -> None:
    found = sources()
    to_trace, to_logs = found["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (to_trace["name"], to_trace["datasourceUid"]) == ("trace_id", "jaeger")
    assert to_logs["name"] == "trace_id"
    assert to_logs["url"] == "$RECORDER_PAGE/logs?trace_id=$${__value.raw}"
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    assert "RECORDER_PAGE" in compose["services"]["grafana"]["environment"]
    metrics = found["jaeger"]["jsonData"]["tracesToMetrics"]
    assert metrics["datasourceUid"] in found
    for query in metrics["queries"]:
        # $$: Grafana would read a single $ as an environment variable
        assert "$$__tags" in query["query"]


def test_spans_link_to_log_lines_and_log_lines_link_to_traces() -> None:
    found = sources()
    to_logs = found["jaeger"]["jsonData"]["tracesToLogsV2"]
    logs = found[to_logs["datasourceUid"]]
    assert (logs["type"], logs["url"]) == ("loki", "http://recorder:8176")
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    query = to_logs["query"].replace("$${__trace.traceId}", trace_id)
    assert loki.trace_id_of(query) == trace_id, "the recorder must accept Grafana's query"
    (back,) = logs["jsonData"]["derivedFields"]
    assert back["datasourceUid"] == "jaeger"
    record = {"time": 1.0, "trace_id": trace_id}
    (stream,) = loki.streams([record], 1)["data"]["result"]
    line = stream["values"][0][1]
    seen = re.search(back["matcherRegex"], line)
    assert seen is not None
    assert seen[1] == trace_id


def test_the_dashboards_folder_is_the_mounted_one() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    assert (PROJECT / "dashboards" / "json" / "overview.json").is_file()
    assert len(STEMS) == 9
