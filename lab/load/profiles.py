"""Load profiles: the tables of `loadtests/profiles.toml`, checked, each error with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from lab.load.limits import LoadLimit
from lab.nearest import did_you_mean, nearest
from lab.strict_table import Expected, StrictTable, Where, first_error, invalid
from lab.topology import PROJECT

PROFILES = PROJECT / "loadtests/profiles.toml"
PAGE = "locust-page"  # stands for a profile in the archive of a load by Locust's own page
# What a shopper can do, and the route of its (first) request. loadtests/journeys.py does it.
ACTIONS = {
    "list": "GET /api/products",
    "product": "GET /api/products/{id}",
    "search": "GET /api/products",
    "order": "POST /api/orders",
    "bargain": "POST /api/orders",
    "track": "GET /api/orders/{id}",
    "cancel": "POST /api/orders/{id}/cancel",
    "register": "POST /api/users",
    # journeys that check what the shop answers
    "list_own": "GET /api/orders",
    "find": "GET /api/products/{id}",
    "repeat": "POST /api/orders (repeated)",
    "register_again": "POST /api/users",
    "reuse_key": "POST /api/orders (key reused)",
    "unknown_product": "POST /api/orders (unknown product)",
    "too_many": "POST /api/orders (too many)",
    "read_foreign": "GET /api/orders/{id} (foreign)",
    "wrong_password": "POST /api/login (wrong password)",
}


class ProfileError(Exception):
    """A profile cannot be used; the text has file, line and what is expected."""


def _action(name: str) -> str:
    if name not in ACTIONS:
        raise invalid(f"unknown action; expected one of {', '.join(ACTIONS)}")
    return name


def _not_all_zero(rates: dict[str, float]) -> dict[str, float]:
    if not any(rates.values()):
        raise invalid("expected at least one rate above 0")
    return rates


def _in_order(surges: tuple[Surge, ...]) -> tuple[Surge, ...]:
    times = [time_s for surge in surges for time_s in (surge.from_s, surge.to_s)]
    if times != sorted(times) or any(surge.from_s == surge.to_s for surge in surges):
        raise invalid("expected from_s < to_s, in order, not overlapping")
    return surges


Number = Annotated[StrictFloat, Field(ge=0, le=1_000_000), Expected("a number of 0 or more")]
Action = Annotated[str, AfterValidator(_action)]


class Surge(StrictTable):
    """From `from_s` to `to_s` after the start every rate is multiplied by `factor`."""

    from_s: Number
    to_s: Number
    factor: Number


class ProfileTable(StrictTable):
    """Arrivals per second by action; `sessions` shoppers share them; a shopper waits `timeout_s`.

    `limit`: what a load of this profile alone is judged by (`lab load`); an experiment has its own.
    """

    about: StrictStr = ""
    arrivals: Annotated[Literal["poisson", "constant"], Expected("poisson or constant")] = "poisson"
    sessions: Annotated[StrictInt, Field(ge=1, le=499), Expected("a whole number 1 to 499")] = 20
    timeout_s: Annotated[
        StrictFloat, Field(ge=0.1, le=1_000_000), Expected("a number of 0.1 or more")
    ] = 8.0
    rate_per_s: Annotated[dict[Action, Number], AfterValidator(_not_all_zero)]
    surge: Annotated[tuple[Surge, ...], AfterValidator(_in_order)] = ()
    limit: tuple[LoadLimit, ...] = ()

    @model_validator(mode="after")
    def _limits_have_requests(self) -> ProfileTable:
        sent = {ACTIONS[action] for action, rate in self.rate_per_s.items() if rate}
        for limit in self.limit:
            if limit.route and limit.route not in sent:
                hint = nearest(limit.route, sent)
                raise invalid(f"this load sends no request {limit.route!r}{hint}", "limit")
        return self


class Profile(ProfileTable):
    """A profile and its name, the header of its table."""

    name: str

    @property
    def rate_per_s_by_route(self) -> dict[str, float]:
        """Planned requests per second outside of surges, as `run.json` has them."""
        rates: dict[str, float] = {}
        for action, rate in self.rate_per_s.items():
            rates[ACTIONS[action]] = rates.get(ACTIONS[action], 0.0) + rate
        return rates

    def planned(self) -> dict[str, Any]:
        """What the schedule follows from, as `run.json` has it."""
        return self.model_dump(mode="json", include=PLANNED)


PLANNED = set(Profile.model_fields) - {"limit"}


def load_profiles(path: Path) -> dict[str, Profile]:
    """All profiles of the file, by name. Raises ProfileError."""
    try:
        text = path.read_text()
        tables = tomllib.loads(text)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(_with_line(path, error)) from None
    return {name: _profile(path, text, name, table) for name, table in tables.items()}


def find_profile(name: str, path: Path = PROFILES) -> Profile:
    """The profile `name`. Raises ProfileError with the nearest name and all names."""
    profiles = load_profiles(path)
    if name in profiles:
        return profiles[name]
    hint = did_you_mean(name, profiles)
    raise ProfileError(f"no load profile {name!r} in {path}.{hint} Profiles: {', '.join(profiles)}")


def _profile(path: Path, text: str, name: str, table: Any) -> Profile:
    try:
        return Profile(
            name=name, **ProfileTable.model_validate(table).model_dump(exclude_unset=True)
        )
    except ValidationError as error:
        where, complaint = first_error(error)
        key = ".".join([name, *(step for step in where if isinstance(step, str))])
        raise ProfileError(f"{path}:{_line(text, name, where)}: {key}: {complaint}") from None


def _line(text: str, profile: str, where: Where) -> int:
    """The line of the last key of `where` that has one; else the line of the profile's header."""
    index = next((step for step in where if isinstance(step, int)), 0)
    lines: dict[str, int] = {}
    headers: list[str] = []
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([\w.\-\"]+)\s*\]\]?", line):
            first, _, key = header[1].replace('"', "").partition(".")
            headers.append(header[1])
            # of several [[profile.surge]], those after the one with the error do not count
            inside = first == profile and headers.count(header[1]) <= index + 1
        elif entry := re.match(r"\s*\"?([\w\-]+)\"?\s*=", line):
            key = entry[1]
        else:
            continue
        if inside:
            lines[key] = number
    return next((lines[step] for step in reversed(where) if step in lines), lines.get("", 1))


def _with_line(path: Path, error: tomllib.TOMLDecodeError) -> str:
    found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    if not found:
        return f"{path}: is no valid TOML: {error}"
    message = str(error).replace(found[0], "").strip()
    return f"{path}:{found[1]}: column {found[2]}: {message}; expected valid TOML"
