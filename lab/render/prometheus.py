"""Renders prometheus.yml, the SLO rules and alertmanager.yml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab import __version__
from lab.render.compose import inner_port
from lab.render.template import filled
from lab.topology import Service, Topology

EACH_S = 2
WINDOWS = ("10s", "30s", "60s", "6m")  # 5 m, 30 m, 1 h and 6 h of an operator's book
RULES = "system/deploy/rules"
SERVER = "http_server_request_duration_seconds"
Address = Callable[[Service, int], str]


@dataclass(frozen=True)
class Addresses:
    """host:port of the scraped programs that are not instances."""

    watch: str
    recorder: str
    prometheus: str
    alertmanager: str


def config(
    addresses: Addresses, *, shop: str, rules: str, more: str = "", credentials: str = ""
) -> str:
    """prometheus.yml; `shop` is the discovery of instances (below), `more` are other jobs, both as YAML.

    `credentials` are sent to the address of Alertmanager, for a lab where the watch receives alerts directly.
    """
    return filled(
        "prometheus.yml.template",
        each_s=EACH_S,
        shop=shop,
        rules=rules,
        more=more,
        watch=addresses.watch,
        recorder=addresses.recorder,
        prometheus=addresses.prometheus,
        alertmanager=addresses.alertmanager,
        alertmanager_more=f", authorization: {{credentials: {credentials}}}" if credentials else "",
    )


def from_file(path: str) -> str:
    """Discovery of instances by a file that the lab rewrites when they change."""
    return f'    file_sd_configs: [{{files: ["{path}"]}}]'


def of_topology(topology: Topology, address: Address) -> str:
    """Discovery of the topology's instances; `address(service, n)` is host:port of the nth."""
    lines = ["    static_configs:"]
    for service in topology.services.values():
        for number in range(1, service.replicas + 1):
            labels = labels_of(service.name, f"{service.name}-{number}", {})
            pairs = ", ".join(f'{name}: "{value}"' for name, value in labels.items())
            target = address(service, number)
            lines.append(f'      - {{targets: ["{target}"], labels: {{{pairs}}}}}')
    return "\n".join(lines)


def labels_of(service: str, instance: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The labels of an instance's series, from its settings."""
    return {
        "service": service,
        "instance": instance,
        "arm": settings.get("ARM", "control"),
        "version": settings.get("VERSION", __version__),
    }


def alertmanager(watch: str, credentials: str) -> str:
    """alertmanager.yml: every alert goes to the watch at this URL, which logs it."""
    return filled("alertmanager.yml.template", watch=watch, credentials=credentials)


def slo_rules(topology: Topology) -> str:
    """Rules for the objectives, the share of requests that miss them, and the burn rate of the error budget.

    Multiwindow, multi-burn-rate: Google, The Site Reliability Workbook (2018), chapter 5.
    """
    lines = [
        "# Rendered by `lab render` from the SLOs of system/topology.toml; edit lab/render/prometheus.py.",
        "groups:",
        "  - name: slo objectives",
        f"    interval: {EACH_S}s",
        "    rules:",
    ]
    for service in topology.services.values():
        slo, labels = service.slo, f"{{service: {service.name}}}"
        seconds = slo.latency_ms_p99 / 1000
        for name, value in (("availability", slo.availability), ("latency_seconds", seconds)):
            lines.append(
                f"      - {{record: slo:{name}:objective, labels: {labels}, expr: vector({value:g})}}"
            )
    for window in WINDOWS:
        lines += [f"  - name: slo {window}", f"    interval: {EACH_S}s", "    rules:"]
        lines += [*_rule(f"slo:availability:errors{window}", _errors(window))]
        for service in topology.services.values():
            lines += _rule(f"slo:latency:errors{window}", _slow(service, window))
            lines.append(f"        labels: {{service: {service.name}}}")
        lines += _rule(
            f"slo:availability:burn{window}",
            f"slo:availability:errors{window} / (1 - slo:availability:objective)",
        )
        lines += _rule(f"slo:latency:burn{window}", f"slo:latency:errors{window} / 0.01")
    return "\n".join(lines) + "\n"


def _rule(name: str, expression: str) -> list[str]:
    return [f"      - record: {name}", f"        expr: {expression}"]


def _errors(window: str) -> str:
    requests = f"sum by (service) (rate({SERVER}_count[{window}]))"
    failed = (
        f'sum by (service) (rate({SERVER}_count{{http_response_status_code=~"5.."}}[{window}]))'
    )
    return f"({failed} or 0 * {requests}) / {requests}"


def _slow(service: Service, window: str) -> str:
    labels = f'service="{service.name}"'
    # in the format of the services' `le`: 0.1, 1.0
    bound = repr(float(service.slo.latency_ms_p99 / 1000))
    quick = f'sum by (service) (rate({SERVER}_bucket{{{labels},le="{bound}"}}[{window}]))'
    return f"1 - {quick} / sum by (service) (rate({SERVER}_count{{{labels}}}[{window}]))"


def files(topology: Topology) -> dict[str, str]:
    """The committed files: the rules, and the configurations of docker-compose.yml."""
    compose = Addresses(
        watch=f"watch:{inner_port(topology.lab['watch'])}",
        recorder=f"recorder:{inner_port(topology.lab['recorder'])}",
        prometheus="localhost:9090",
        alertmanager="alertmanager:9093",
    )
    shop = of_topology(
        topology, lambda service, number: f"{service.name}-{number}:{inner_port(service)}"
    )
    collector = (
        '  - job_name: collector\n    static_configs: [{targets: ["otel-collector:8889"]}]\n'
    )
    return {
        f"{RULES}/slo.yml": slo_rules(topology),
        "system/deploy/prometheus.yml": config(
            compose, shop=shop, rules="/etc/prometheus/rules", more=collector
        ),
        "system/deploy/alertmanager.yml": alertmanager(
            f"http://{compose.watch}", "credentials_file: /etc/alertmanager/lab_token"
        ),
    }
