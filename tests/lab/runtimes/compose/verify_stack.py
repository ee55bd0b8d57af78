"""`make verify-compose`: the full stack in containers, built, started, used, broken, judged and stopped.

    .venv/bin/python -m tests.lab.runtimes.compose.verify_stack [--port-base 8080] [--experiments a,b] [--keep]

Each step prints what it found. Exit: 0 everything as it should be, 1 something is not, with what.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from lab.chaos.probe_customer import Customer
from lab.http_client import NoReplyError, exchange
from lab.runtimes.compose.environment import everything_of, project_of
from lab.state import Lab, home_of
from lab.topology import PROJECT, load
from tests.fixtures.waiting import wait_until

LAB = PROJECT / ".venv/bin/lab"
EXPERIMENTS = ("payments_slow", "orders_crash", "observability_blackout")
WATCHING_CORES_MAX = 0.2
ARRIVES_S = 30.0
VERDICTS = {0: "held", 1: "deviated", 2: "refused", 3: "invalid", 4: "undecided"}


class StepFailedError(Exception):
    """A step did not find what it should."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="verify_stack", description=__doc__)
    parser.add_argument("--port-base", type=int, default=8080)
    parser.add_argument("--experiments", default=",".join(EXPERIMENTS), help="names, or none")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    options = parser.parse_args()
    names = [each for each in options.experiments.split(",") if each not in ("", "none")]
    verification = Verification(options.port_base)
    try:
        verification.everything(names)
    except StepFailedError as failure:
        print(f"FAILED  {failure}")
        return 1
    finally:
        if not options.keep:
            verification.take_down()
    return 1 if verification.wrong else 0


class Verification:
    """One lab, step by step."""

    def __init__(self, port_base: int) -> None:
        self.port_base = port_base
        self.home = home_of(port_base)
        self.wrong: list[str] = []

    def everything(self, experiments: list[str]) -> None:
        self.step("built, started, all ready", self.start)
        self.lab = Lab.load(self.home)
        self.step("every container healthy", lambda: self.eventually(self.healthy))
        trace = self.step("an order through nginx", self.order)
        self.step("its trace in Jaeger", lambda: self.eventually(lambda: self.traced(trace)))
        self.step("its metrics in Prometheus", lambda: self.eventually(self.measured))
        self.step("its log through Fluentd", lambda: self.eventually(lambda: self.logged(trace)))
        self.step("its mail in the sink", lambda: self.eventually(self.mailed))
        self.step("Grafana without a login", lambda: self.eventually(self.drawn))
        for name in experiments:
            self.step(f"experiment {name}", lambda name=name: self.experiment(name))  # type: ignore[misc]
        self.step("what Prometheus costs", lambda: self.eventually(self.watching))

    def step(self, what: str, work: Callable[[], str]) -> str:
        began = time.monotonic()
        found = work()
        print(f"ok  {time.monotonic() - began:6.1f} s  {what}: {found}", flush=True)
        return found

    def eventually(self, work: Callable[[], str]) -> str:
        """The first result without an error; what arrives in the background takes its time."""
        not_yet = (StepFailedError, NoReplyError, KeyError, IndexError, TypeError)
        try:
            return wait_until(work, "a result", ARRIVES_S, not_yet=not_yet, poll_s=0.5)
        except AssertionError as error:
            raise StepFailedError(f"{error}; {error.__cause__}") from None

    # -- the steps ------------------------------------------------------------------------------

    def start(self) -> str:
        done = self._lab("up", "--runtime", "compose", "--fresh", "--json")
        if done.returncode != 0:
            raise StepFailedError(done.stderr)
        return f"lab up took {json.loads(done.stdout)['took_s']} s"

    def healthy(self) -> str:
        found = everything_of(self.home).containers()
        bad = [f"{e['Service']} {e['State']} {e['Health']}" for e in found if not _well(e)]
        if bad or len(found) < 20:
            raise StepFailedError(f"of {len(found)} containers: {', '.join(bad)}")
        return f"{len(found)} containers"

    def order(self) -> str:
        reply = Customer(self.lab.addresses["ingress"]).order()
        if reply.status not in (201, 202):
            raise StepFailedError(f"{reply.status}: {reply.body}")
        return str(reply.headers["x-request-id"])

    def traced(self, trace: str) -> str:
        (found,) = self._get("jaeger", f"/api/traces/{trace}")["data"]
        services = {each["serviceName"] for each in found["processes"].values()}
        # those that an order reaches at once, and notifications by an event
        expected = {
            "gateway",
            "orders",
            "products",
            "inventory",
            "payments",
            "bank",
            "notifications",
        }
        if missing := expected - services:
            raise StepFailedError(
                f"{len(found['spans'])} spans, but none of {', '.join(sorted(missing))}"
            )
        return f"{len(found['spans'])} spans of {len(services)} services"

    def measured(self) -> str:
        count = (
            'sum(http_server_request_duration_seconds_count{service="orders",http_route="/orders"})'
        )
        orders = float(self._query(count)[0]["value"][1])
        up = {e["metric"]["instance"]: e["value"][1] for e in self._query("up")}
        down = [name for name, value in up.items() if value != "1"]
        expected = sum(each.replicas for each in load().services.values())
        if orders < 1 or down or len(up) < expected:
            raise StepFailedError(
                f"{orders:g} orders counted; {len(up)} targets, down: {', '.join(down)}"
            )
        return f"{orders:g} orders counted, {len(up)} targets up"

    def logged(self, trace: str) -> str:
        compose = everything_of(self.home)
        find = f"cat /fluentd/log/*.jsonl 2>/dev/null | grep {trace} || true"
        found = compose.run("exec", "-T", "fluentd", "sh", "-c", find)
        found += "\n".join(e for e in compose.tail("fluentd").splitlines() if trace in e)
        if trace not in found:
            raise StepFailedError(f"no line with {trace}")
        return f"{len(found.splitlines())} lines"

    def mailed(self) -> str:
        mails = self._get("mail_page", "/api/mails")["mails"]
        if not mails:
            raise StepFailedError("no mail yet")
        return str(mails[-1]["subject"])

    def drawn(self) -> str:
        boards = self._get("grafana", "/api/search?type=dash-db")
        for name in ("prometheus", "jaeger", "alertmanager", "logs"):
            answer = self._get("grafana", f"/api/datasources/uid/{name}/health")
            if answer.get("status") != "OK":
                raise StepFailedError(f"data source {name}: {answer}")
        if not any("overview" in each["title"] for each in boards):
            raise StepFailedError(f"no overview among {len(boards)} dashboards")
        return f"{len(boards)} dashboards, every data source answers"

    def experiment(self, name: str) -> str:
        done = self._lab("run", name, "--json")
        verdict = VERDICTS.get(done.returncode, f"exit {done.returncode}")
        if done.returncode != 0:
            self.wrong.append(name)
            return f"{verdict.upper()}\n{done.stdout[-3000:]}{done.stderr[-1500:]}"
        return verdict

    def watching(self) -> str:
        """With too little memory it reads its own program's pages again all the time: 0.3 to 0.5 of a core."""
        found = self._query('rate(process_cpu_seconds_total{job="prometheus"}[1m])')
        share = float(found[0]["value"][1])
        if share > WATCHING_CORES_MAX:
            raise StepFailedError(f"{share:.2f} of a core, expected {WATCHING_CORES_MAX} at most")
        return f"{share:.2f} of a core"

    def take_down(self) -> None:
        done = self._lab("down")
        project = project_of(self.port_base)
        label = f"label=com.docker.compose.project={project}"
        left = subprocess.run(
            ["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True
        ).stdout.split()
        print(f"{'ok' if not left and done.returncode == 0 else 'FAILED'}  taken down", flush=True)
        if left or done.returncode != 0:
            self.wrong.append("down")

    # -- how they ask ---------------------------------------------------------------------------

    def _lab(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(LAB), *arguments, "--port-base", str(self.port_base)]
        return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)

    def _get(self, name: str, path: str) -> Any:
        reply = exchange("GET", self.lab.addresses[name] + path)
        if reply.status != 200:
            raise StepFailedError(f"{name}{path}: {reply.status} {reply.body}")
        return reply.body

    def _query(self, expression: str) -> Any:
        from urllib.parse import quote

        return self._get("prometheus", f"/api/v1/query?query={quote(expression)}")["data"]["result"]


def _well(container: dict[str, Any]) -> bool:
    return container["State"] == "running" and container["Health"] in ("", "healthy")


if __name__ == "__main__":
    sys.exit(main())
