"""A real Jaeger on the configuration of system/deploy: spans in, traces and the dependency graph out."""

from __future__ import annotations

from tests.deploy.observability import DEPLOY, Jaeger, get, tell_order, until


def test_a_trace_sent_to_jaeger_is_found_by_its_id(jaeger: Jaeger) -> None:
    trace_id = tell_order(jaeger.otlp)
    spans = until(
        lambda: len(found := jaeger.spans(trace_id)) == 5 and found, "five spans in Jaeger"
    )
    names = {span["operationName"] for span in spans}
    services = ("gateway", "orders", "bank")
    assert names == {"call orders", "call bank", *(f"answer in {name}" for name in services)}


def test_the_dependency_graph_has_an_edge_for_each_caller_and_callee(jaeger: Jaeger) -> None:
    tell_order(jaeger.otlp)
    edges = until(jaeger.dependencies, "edges in Jaeger")
    assert set(edges) == {("gateway", "orders"), ("orders", "bank")}


def test_the_page_of_a_trace_opens_and_has_the_configured_links(jaeger: Jaeger) -> None:
    """The address that reports and log lines link to; Jaeger puts its UI's configuration into the page."""
    trace_id = tell_order(jaeger.otlp)
    page = get(f"{jaeger.url}/trace/{trace_id}")
    assert "<html" in page
    assert (DEPLOY / "jaeger-ui.js").read_text().strip() in page
