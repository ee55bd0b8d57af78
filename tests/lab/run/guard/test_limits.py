"""Limits of a guard: ratios and percentiles of the last seconds, silence, probes; and how the guard acts."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lab.chaos.experiment.plan import ProbeLimit, RequestLimit
from lab.chaos.experiment.variables import Variables, variables_of
from lab.chaos.faults.clear_all import Cleared
from lab.run.guard.guard import Guard
from lab.run.guard.limits import ProbeWatch, RequestRows, RequestWatch

ROUTE = "POST /api/orders"


def limit(
    name: str, limit: float = 0.5, route: str = "", measure: str = "error_ratio"
) -> RequestLimit:
    return RequestLimit(name=name, route=route, measure=measure, limit=limit, for_s=3.0)


ERRORS = limit("orders fail", route=ROUTE)


class Requests:
    """requests.ndjson as the load writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def add(
        self, at_s: float, outcome: str = "ok", took_s: float = 0.1, route: str = ROUTE
    ) -> None:
        row = {"route": route, "intended_start_s": at_s - took_s, "end_s": at_s, "outcome": outcome}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    return Requests(tmp_path / "requests.ndjson")


def watch(
    requests: Requests, limit: RequestLimit = ERRORS, expected_per_s: float = 0.0
) -> RequestWatch:
    return RequestWatch(limit, RequestRows(requests.path), expected_per_s, now_s=100.0)


def test_an_error_ratio_above_the_limit_is_a_violation(requests: Requests) -> None:
    looking = watch(requests)
    for n in range(10):
        requests.add(100.5 + n / 4, "fail" if n < 6 else "ok")
    assert looking.look(102.9) is None, "less than for_s since the start"
    assert looking.look(103.1) == "error_ratio 0.6 over 3 s, the limit is 0.5"


def test_a_value_at_the_limit_is_no_violation_and_old_requests_do_not_count(
    requests: Requests,
) -> None:
    looking = watch(requests)
    for n in range(10):
        requests.add(101 + n / 10, "fail")
        requests.add(104.5 + n / 10, "fail" if n % 2 else "ok")
    assert looking.look(106.0) is None


def test_other_routes_count_only_for_a_limit_without_a_route(requests: Requests) -> None:
    one, every = watch(requests), watch(requests, limit("all"))
    for _ in range(10):
        requests.add(102, "unknown", route="GET /api/products")
    assert one.look(103.5) is None
    assert every.look(103.5) == "error_ratio 1 over 3 s, the limit is 0.5"


def test_a_few_requests_are_not_judged_but_silence_under_load_is_a_violation(
    requests: Requests,
) -> None:
    for _ in range(4):
        requests.add(101, "fail")
    idle, busy = watch(requests), watch(requests, expected_per_s=5.0)
    assert idle.look(103.5) is None
    assert busy.look(110.0) == "no request was answered for 3 s"


def test_a_limit_can_be_on_a_percentile_of_response_times(requests: Requests) -> None:
    looking = watch(requests, limit("slow", 1000, ROUTE, "p95_ms"))
    for n in range(20):
        requests.add(102, took_s=2.0 if n > 17 else 0.1)
    assert looking.look(103.5) == "p95_ms 2000 over 3 s, the limit is 1000"


def test_a_torn_line_is_skipped(requests: Requests) -> None:
    looking = watch(requests)
    with requests.path.open("a") as file:
        file.write('{"route": "POST\n')
    for _ in range(6):
        requests.add(102, "fail")
    assert looking.look(103.5)


VARIABLES = Variables({"port_base": 21080, "least": 5}, {"cards": {"good": "4242"}})


def probe(value: Any, configuration: dict[str, Any]) -> Any:
    """A substitute for a probe of lab.chaos.probes."""
    assert configuration == VARIABLES.configuration
    if value == "raise":
        raise RuntimeError("no lab")
    return value


@pytest.mark.parametrize(
    ("value", "reason"), [(0.4, None), (5, "5 is not within"), ("raise", "RuntimeError: no lab")]
)
def test_a_probe_outside_its_tolerance_for_so_long_is_a_violation(
    value: object, reason: str | None
) -> None:
    row = {
        "name": "an order is answered",
        "provider": {"module": __name__, "func": "probe", "arguments": {"value": value}},
        "tolerance": [0, 3],
        "for_s": 1.0,
    }
    looking = ProbeWatch(ProbeLimit.model_validate(row), VARIABLES)
    now_s = time.time()
    assert looking.look(now_s - 1.2) is None or value != 0.4, "the first call"
    found = looking.look(now_s)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(("value", "bad"), [(0.5, False), (0.6, True)])
def test_a_fraction_as_tolerance_is_met_by_the_same_value(value: float, bad: bool) -> None:
    provider = {"module": __name__, "func": "probe", "arguments": {"value": value}}
    row = {"name": "x", "provider": provider, "tolerance": 0.5, "for_s": 0}
    found = ProbeWatch(ProbeLimit.model_validate(row), VARIABLES).look(time.time())
    assert (found is not None) == bad


def test_a_probe_outside_its_tolerance_for_a_shorter_time_is_no_violation() -> None:
    provider = {"module": __name__, "func": "probe", "arguments": {"value": 5}}
    row = {"name": "x", "provider": provider, "tolerance": [0, 3], "for_s": 30.0}
    looking = ProbeWatch(ProbeLimit.model_validate(row), VARIABLES)
    assert looking.look(time.time()) is None


@pytest.mark.parametrize(("text", "filled"), [("${least}", 5), ("card ${good}", "card 4242")])
def test_variables_are_filled_in_as_in_the_method(text: str, filled: object) -> None:
    provider = {"module": __name__, "func": "probe", "arguments": {"value": text}}
    row = {"name": "x", "provider": provider, "tolerance": "never", "for_s": 0}
    reason = ProbeWatch(ProbeLimit.model_validate(row), VARIABLES).look(time.time())
    assert reason is not None
    assert reason.startswith(f"{filled!r} is not within")


def test_a_probe_need_not_take_the_configuration() -> None:
    provider = {"module": "math", "func": "sqrt", "arguments": {}}
    row = {"name": "x", "provider": provider, "tolerance": True, "for_s": 0}
    reason = ProbeWatch(ProbeLimit.model_validate(row), VARIABLES).look(time.time())
    assert reason is not None
    assert "configuration" not in reason


def test_variables_have_the_values_that_the_toolkit_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAST", "7")
    monkeypatch.setenv("CARD", "4242")
    experiment = {
        "configuration": {
            "port_base": {"type": "env", "key": "LAB_PORT_BASE", "default": ""},
            "least": {"type": "env", "key": "LEAST", "env_var_type": "int"},
            "sku": "SKU-0001",
        },
        "secrets": {"cards": {"good": {"type": "env", "key": "CARD"}}},
    }
    (tmp_path / "experiment.yaml").write_text(json.dumps(experiment))
    variables = variables_of(tmp_path / "experiment.yaml", 21080)
    assert variables.configuration == {"port_base": 21080, "least": 7, "sku": "SKU-0001"}
    assert variables.secrets == {"cards": {"good": "4242"}}


class Always:
    def look(self, now_s: float) -> str | None:
        return "always too much"


def test_a_guard_aborts_the_method_once_and_goes_on_removing_new_faults() -> None:
    done: list[str] = []
    again = threading.Event()

    def clear_all() -> Cleared:
        done.append("clear_all")
        if done.count("clear_all") == 2:
            again.set()
        return Cleared(0.01, ["orders-1 does not answer"])

    watches = [("one", Always()), ("two", Always())]
    guard = Guard(watches, lambda: done.append("stop"), clear_all)
    assert again.wait(5)
    guard.stop()
    assert done[:2] == ["stop", "clear_all"]
    assert done.count("stop") == 1
    assert guard.violation is not None
    assert guard.violation.reason == "always too much"
    assert guard.violation.problems == ["orders-1 does not answer"]
