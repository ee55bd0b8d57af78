"""The policies of the edges: read from resilience.toml, switched at run time, told to the outside."""

from pathlib import Path
from typing import Any

import pytest

from chassis import protection
from chassis.clock import SystemClock
from chassis.resilience.profile import ProfileError
from shop.gateway.door import EDGE, Door
from tests.chassis.conftest import Echo


def test_every_edge_named_in_the_file_can_be_built() -> None:
    for edge in set(protection.tables()) - {EDGE}:
        protection.Protection(edge, "full")
    Door("full", SystemClock())


def test_a_malformed_file_is_named_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "resilience.toml"
    bad.write_text("[default]\ntimeout = oops")
    with pytest.raises(ProfileError, match=r"resilience\.toml: .*line 2"):
        protection.tables(bad)


async def _put(echo: Echo, body: dict[str, Any]) -> tuple[int, Any]:
    status, answer, _ = await echo.call("PUT", "/_lab/resilience", json=body, headers=echo.lab)
    return status, answer


async def test_the_ladder_and_single_switches_move_at_run_time(echo: Echo) -> None:
    assert (await _put(echo, {"profile": "none"}))[0] == 200
    chain = echo.service.clients["echo"].protection.chain
    assert chain.profile == "none"
    status, body = await _put(
        echo, {"edge": "echo->echo", "profile": "full", "switches": {"breaker": False}}
    )
    assert status == 200
    assert body["edges"]["echo->echo"]["profile"] == "full"
    breaker = chain.get("breaker")
    assert breaker is not None
    assert breaker.enabled is False


@pytest.mark.parametrize(
    "body",
    [
        {"profile": "most"},
        {"edge": "echo->nobody", "profile": "none"},
        {"edge": "echo->echo", "switches": {"brake": False}},
        {"switches": {"breaker": "off"}},
        {"policy": "breaker"},
    ],
)
async def test_a_switch_that_is_not_there_changes_nothing(echo: Echo, body: dict[str, Any]) -> None:
    before = _switches(echo)
    status, problem = await _put(echo, body)
    assert status == 400
    assert "expected" in problem["detail"] or "no edge" in problem["detail"]
    assert _switches(echo) == before


def _switches(echo: Echo) -> tuple[str, list[bool]]:
    chain = echo.service.clients["echo"].protection.chain
    return chain.profile, [policy.enabled for policy in chain]
