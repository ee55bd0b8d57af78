"""`lab resilience`: shows the policies of running instances, changes them, refuses impossible changes."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import __version__, cli
from lab.chaos.resilience import PolicyChange, UnknownPolicyError
from lab.chaos.running_lab import find_lab
from lab.commands.resilience import parse
from lab.resilience_overrides import overrides_file
from lab.run.evidence.metadata import run_metadata
from lab.state import Entry, Lab
from lab.topology import DEFAULT_PATH
from tests.fixtures.running import Running, RunningService

PORT_BASE = 23080


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write a lab.json with these instances."""

    def write(*services: RunningService, gone: str = "") -> None:
        monkeypatch.setenv("LAB_DIR", str(tmp_path / "labs"))
        monkeypatch.setenv("LAB_PORT_BASE", str(PORT_BASE))
        home = tmp_path / "labs" / str(PORT_BASE)
        home.mkdir(parents=True, exist_ok=True)
        entries = [
            Entry(each.settings.instance, each.pid, "", each.settings.service, each.url)
            for each in services
        ]
        if gone:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = f"http://127.0.0.1:{free.getsockname()[1]}"
            entries.append(Entry(gone, 1, "", gone.rpartition("-")[0], address))
        token = services[0].settings.lab_token
        Lab(PORT_BASE, str(home), str(DEFAULT_PATH), 0.0, token, "", {}, {}, {}, entries).save()

    return write


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.run(["resilience", *words])
    output = capsys.readouterr()
    return code, output.out, output.err


def view_of(capsys: pytest.CaptureFixture[str], edge: str) -> list[dict[str, Any]]:
    _, out, _ = run(capsys, "--edge", edge, "--json")
    items: list[dict[str, Any]] = json.loads(out)["items"]
    return items


async def test_it_shows_each_edge_of_each_instance(
    running: Running, announce: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    announce(await running("gateway"), await running("gateway"))
    code, out, _ = run(capsys)
    assert code == 0
    lines = [line.split() for line in out.splitlines() if "gateway->products" in line]
    assert [line[:4] for line in lines] == [
        ["gateway->products", "gateway-1", "full", "closed"],
        ["gateway->products", "gateway-2", "full", "closed"],
    ]
    assert "ingress->gateway" in out
    (one, _) = view_of(capsys, "gateway->products")
    assert one["instance"] == "gateway-1"
    assert {"fallback", "retry", "budget", "breaker", "hedge", "outlier"} <= set(one["kinds"])


async def test_set_reaches_every_instance_that_has_the_edge(
    running: Running, announce: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    announce(await running("gateway"), await running("gateway"))
    code, out, _ = run(capsys, "set", "gateway->products", "breaker=off", "profile=breaker")
    assert (code, out) == (0, "2 edges of 2 instances changed\n")
    for view in view_of(capsys, "gateway->products"):
        assert view["profile"] == "breaker"
        (breaker,) = [each for each in view["policies"] if each["kind"] == "breaker"]
        assert breaker["enabled"] is False
    assert {view["profile"] for view in view_of(capsys, "gateway->orders")} == {"full"}
    code, out, _ = run(capsys, "set", "hedge=off", "--json")
    assert code == 0
    assert {each["edge"] for each in json.loads(out)["changed"]} == {"gateway->products"}
    code, _, _ = run(capsys, "set", "profile=none")
    assert code == 0
    assert {view["profile"] for view in view_of(capsys, "ingress->gateway")} == {"none"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["gateway->product", "breaker=off"], "did you mean 'gateway->products'?"),
        (["gateway->products", "braker=off"], "did you mean 'breaker'?"),
        (["profile=retry"], "did you mean 'retries'?"),
        (["breaker=aus"], "expected breaker=on or breaker=off"),
        (["gateway->products"], "nothing to set"),
        (["a->b", "c->d", "breaker=off"], "two edges"),
    ],
)
async def test_an_impossible_change_is_refused_and_changes_nothing(
    running: Running,
    announce: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    complaint: str,
) -> None:
    announce(await running("gateway"))
    code, _, err = run(capsys, "set", *words)
    assert code == 2
    assert complaint in err
    for view in view_of(capsys, "gateway->products"):
        assert view["profile"] == "full"
        assert all(each["enabled"] for each in view["policies"])


async def test_an_instance_that_does_not_answer_is_named(
    running: Running, announce: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    announce(await running("gateway"), gone="gateway-9")
    code, out, err = run(capsys, "set", "gateway->products", "breaker=off")
    assert code == 1
    assert out == "1 edges of 1 instances changed\n"
    assert "gateway-9 does not answer" in err
    code, out, err = run(capsys)
    assert code == 1
    assert "gateway-1" in out
    assert "gateway-9 does not answer" in err


async def test_a_change_outlives_the_instance_and_is_shown(
    running: Running,
    announce: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    overrides = str(overrides_file(tmp_path / "labs" / str(PORT_BASE)))
    first = await running("gateway", LAB_RESILIENCE=overrides)
    announce(first)
    assert run(capsys, "set", "profile=breaker", "hedge=off")[0] == 0
    assert run(capsys, "set", "gateway->products", "profile=full")[0] == 0
    first.stop()
    second = await running("gateway", LAB_RESILIENCE=overrides)
    announce(second)
    views = {view["edge"]: view for view in json.loads(run(capsys, "--json")[1])["items"]}
    profiles = {edge: view["profile"] for edge, view in views.items()}
    assert profiles.pop("gateway->products") == "full"
    assert set(profiles.values()) == {"breaker"}, "admission control and later edges too"
    assert views["gateway->products"]["set"] == {"profile": "full", "switches": {"hedge": False}}
    (hedge,) = [each for each in views["gateway->products"]["policies"] if each["kind"] == "hedge"]
    assert hedge["enabled"] is False
    _, out, _ = run(capsys, "--edge", "gateway->products")
    assert "profile=full hedge=off" in out


async def test_a_damaged_file_of_overrides_is_logged_and_ignored(
    running: Running, tmp_path: Path
) -> None:
    overrides = tmp_path / "resilience.json"
    overrides.write_text('{"gateway->products": {"profile": "most"}, "*": {"profile": "none"')
    gateway = await running("gateway", LAB_RESILIENCE=str(overrides))
    assert "cannot be read and is ignored" in gateway.log.read_text()
    overrides.write_text('{"gateway->products": {"profile": "most"}}')
    gateway = await running("gateway", LAB_RESILIENCE=str(overrides))
    assert "unknown profile 'most'" in gateway.log.read_text()


async def test_a_run_records_the_live_policies_and_not_the_settings_of_the_lab(
    running: Running, announce: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    announce(await running("gateway"), await running("payments"))
    metadata = run_metadata(find_lab(PORT_BASE))
    assert metadata["config"]["resilience"] == "full"
    assert metadata["versions"]["breakwater"] == __version__
    bank = {"window": "COUNT_BASED", "window_size": 20, "minimum_calls": 10,
            "failure_rate_threshold": 0.5, "slow_call_rate_threshold": 0.8,
            "slow_call_duration_s": 0.4, "wait_open_s": 3.0, "permitted_half_open": 3}  # fmt: skip
    assert metadata["breakers"]["payments->bank"] == bank
    run(capsys, "set", "profile=breaker")
    run(capsys, "set", "payments->bank", "breaker=off", "profile=retries")
    run(capsys, "set", "gateway->users", "profile=none")
    metadata = run_metadata(find_lab(PORT_BASE))
    assert metadata["config"]["resilience"] == "mixed"
    assert metadata["resilience"]["payments->bank"] == {
        "profile": "retries",
        "switched_off": ["breaker"],
    }
    assert "gateway->products" in metadata["breakers"]
    assert not {"payments->bank", "gateway->users"} & set(metadata["breakers"]), "not in force"


def test_without_a_lab_the_error_shows_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    monkeypatch.setenv("LAB_PORT_BASE", str(PORT_BASE))
    code, _, err = run(capsys)
    assert code == 1
    assert "lab up" in err


def test_the_arguments_of_set_may_have_any_order() -> None:
    change = PolicyChange("retries", {"breaker": False, "hedge": True})
    assert parse(["breaker=off", "a->b", "profile=retries", "hedge=on"]) == ("a->b", change)
    assert parse(["profile=none"]) == (None, PolicyChange("none", {}))
    with pytest.raises(UnknownPolicyError):
        parse([])
