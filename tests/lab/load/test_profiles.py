"""A valid file of profiles is read; an invalid one is refused with file, line and what is expected."""

from pathlib import Path

import pytest

from lab.load.profiles import PROFILES as SHIPPED
from lab.load.profiles import ProfileError, find_profile, load_profiles


def test_the_shipped_profiles_are_read_and_steady_is_60_browsing_and_15_orders_a_second() -> None:
    rates = load_profiles(SHIPPED)["steady"].rate_per_s
    assert rates["order"] == 15
    assert sum(rates[action] for action in ("list", "product", "search")) == 60
    assert sum(rates.values()) == 75


def test_rates_by_route_add_up_the_actions_of_one_route() -> None:
    steady = load_profiles(SHIPPED)["steady"]
    assert steady.rate_per_s_by_route["GET /api/products"] == 24
    assert sum(steady.rate_per_s_by_route.values()) == 75


def test_every_shipped_profile_has_a_description() -> None:
    assert all(profile.about for profile in load_profiles(SHIPPED).values())


def test_the_error_for_an_unknown_profile_has_the_nearest_name_and_the_list() -> None:
    with pytest.raises(ProfileError, match=r"Did you mean steady\?.*light, steady"):
        find_profile("stedy", SHIPPED)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a\n", ":1: column 3: "),
        ("[a]\nrate_per_s = { order = 1 }\n[b]\nrate_per_s = {}\n", ":4: b.rate_per_s: expected"),
        ("[a]\nabout = 'x'\n", ":1: a: lacks rate_per_s"),
        (
            "[a]\n[a.rate_per_s]\norder = -1\n",
            ":3: a.rate_per_s.order: expected a number of 0 or more, got -1",
        ),
        ("[a]\n[a.rate_per_s]\norder = nan\n", ":3: a.rate_per_s.order: expected a number"),
        (
            "[a]\n[a.rate_per_s]\nbuy = 1\n",
            ":3: a.rate_per_s.buy: unknown action; expected one of list",
        ),
        ("[a]\nrate_per_s = { order = 0 }\n", ":2: a.rate_per_s: expected at least one rate above"),
        ("[a]\nspeed = 3\n", ":2: a.speed: unknown; expected one of about"),
        ("[a]\narrivals = 'bursty'\n", ":2: a.arrivals: expected poisson or constant"),
        ("[a]\nsessions = 0\nrate_per_s = { order = 1 }\n", ":2: a.sessions: expected a whole"),
        (
            "[a]\nrate_per_s = { order = 1 }\n[[a.surge]]\nfrom_s = 5\nto_s = 2\nfactor = 2\n",
            ":3: a.surge: expected from_s < to_s",
        ),
        ("[a]\nrate_per_s = { order = 1 }\n[[a.surge]]\nfrom_s = 5\n", ":3: a.surge: lacks to_s"),
        (
            "[a]\nrate_per_s = { order = 1 }\n"
            "[[a.surge]]\nfrom_s = 0\nto_s = 1\nfactor = 1\n"
            "[[a.surge]]\nfrom_s = 2\nto_s = 3\nfactor = -1\n",
            ":10: a.surge.factor: expected a number of 0 or more, got -1",
        ),
        ("[a]\nname = 'b'\nrate_per_s = { order = 1 }\n", ":2: a.name: unknown; expected one of"),
        (
            "[a]\nrate_per_s = { order = 1 }\n[[a.limit]]\nmeasure = 'p95'\nlimit = 3\n",
            ":4: a.limit.measure: expected p95_ms (p01 to p99",
        ),
        (
            "[a]\nrate_per_s = { order = 1 }\n"
            "[[a.limit]]\nroute = 'POST /api/order'\nmeasure = 'p95_ms'\nlimit = 3\n",
            ":6: a.limit: this load sends no request 'POST /api/order'; did you mean 'POST",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_expectation(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as refused:
        load_profiles(path)
    assert f"{path}{complaint}" in str(refused.value)


def test_limits_are_read_and_the_schedule_does_not_follow_from_them(tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text(
        "[a]\nrate_per_s = { order = 1 }\n"
        "[[a.limit]]\nroute = 'POST /api/orders'\nmeasure = 'p95_ms'\nlimit = 300\n"
        "[[a.limit]]\nmeasure = 'error_ratio'\nlimit = 0.01\n"
    )
    profile = load_profiles(path)["a"]
    assert [(each.route, each.limit) for each in profile.limit] == [
        ("POST /api/orders", 300),
        ("", 0.01),
    ]
    assert "limit" not in profile.planned()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"none\.toml: cannot be read"):
        load_profiles(tmp_path / "none.toml")
