"""Load profiles as data: reads `loadtests/profiles.toml`, refuses what it does not understand."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.nearest import did_you_mean

# What a shopper can come for, and the route of its (first) request. Done by loadtests/journeys.py.
ACTIONS = {
    "list": "GET /api/products",
    "product": "GET /api/products/{id}",
    "search": "GET /api/products",
    "order": "POST /api/orders",
    "track": "GET /api/orders/{id}",
    "cancel": "POST /api/orders/{id}/cancel",
    "register": "POST /api/users",
}
ARRIVALS = ("poisson", "constant")
KEYS = ("about", "arrivals", "sessions", "timeout_s", "rate_per_s", "surge")
SURGE_KEYS = ("from_s", "to_s", "factor")


class ProfileError(Exception):
    """A profile cannot be used; the text has file, line and what is expected."""


@dataclass(frozen=True)
class Surge:
    """From `from_s` to `to_s` after the start every rate is multiplied by `factor`."""

    from_s: float
    to_s: float
    factor: float


@dataclass(frozen=True)
class Profile:
    """Arrivals per second by action; `sessions` shoppers share them; `timeout_s` is their patience."""

    name: str
    about: str
    arrivals: str
    sessions: int
    timeout_s: float
    rate_per_s: dict[str, float]
    surges: tuple[Surge, ...] = ()

    @property
    def rate_per_s_by_route(self) -> dict[str, float]:
        """Planned requests per second outside of surges, as `run.json` has them."""
        rates: dict[str, float] = {}
        for action, rate in self.rate_per_s.items():
            rates[ACTIONS[action]] = rates.get(ACTIONS[action], 0.0) + rate
        return rates


def load_profiles(path: Path) -> dict[str, Profile]:
    """All profiles of the file, by name. Raises ProfileError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(_with_line(path, error)) from None
    return {name: _profile(name, table, _Place(path, text)) for name, table in tables.items()}


def find_profile(name: str, path: Path) -> Profile:
    """The profile `name`; ProfileError names the nearest one and lists all."""
    profiles = load_profiles(path)
    if name in profiles:
        return profiles[name]
    hint = did_you_mean(name, profiles)
    raise ProfileError(
        f"there is no load profile {name!r} in {path}.{hint} Profiles: {', '.join(profiles)}"
    )


@dataclass(frozen=True)
class _Place:
    """Where in the file something is, found again in its text."""

    path: Path
    text: str

    def error(self, profile: str, key: str, expected: str) -> ProfileError:
        return ProfileError(f"{self.path}:{self._line(profile, key)}: {profile}.{key}: {expected}")

    def _line(self, profile: str, key: str) -> int:
        """The key's own line below the profile's header, else the header's, else 1."""
        header_line = 1
        inside = False
        for number, line in enumerate(self.text.splitlines(), start=1):
            header = re.match(r"\s*\[\[?\s*([\w.\-\"]+)\s*\]\]?", line)
            if header:
                inside = header[1].split(".")[0].strip('"') == profile
                header_line = number if inside and header_line == 1 else header_line
                if inside and header[1].endswith(f".{key}"):
                    return number
            elif inside and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return number
        return header_line


def _profile(name: str, table: Any, place: _Place) -> Profile:
    if not isinstance(table, dict):
        raise place.error(name, name, "expected a table [name], not a value outside of any")
    for key in table:
        if key not in KEYS:
            raise place.error(name, key, f"unknown; expected one of {', '.join(KEYS)}")
    arrivals = table.get("arrivals", "poisson")
    if arrivals not in ARRIVALS:
        raise place.error(name, "arrivals", f"expected poisson or constant, got {arrivals!r}")
    rates = table.get("rate_per_s")
    if not isinstance(rates, dict) or not rates:
        raise place.error(name, "rate_per_s", "expected a table of arrivals per second by action")
    for action, rate in rates.items():
        if action not in ACTIONS:
            raise place.error(name, action, f"unknown action; expected one of {', '.join(ACTIONS)}")
        _number(rate, name, action, place, least=0)
    if not any(rates.values()):
        raise place.error(name, "rate_per_s", "expected at least one rate above 0")
    sessions = table.get("sessions", 20)
    if isinstance(sessions, bool) or not isinstance(sessions, int) or not 1 <= sessions <= 499:
        raise place.error(name, "sessions", f"expected a whole number 1 to 499, got {sessions!r}")
    return Profile(
        name=name,
        about=str(table.get("about", "")),
        arrivals=arrivals,
        sessions=sessions,
        timeout_s=_number(table.get("timeout_s", 8.0), name, "timeout_s", place, least=0.1),
        rate_per_s={action: float(rate) for action, rate in rates.items()},
        surges=_surges(table.get("surge", []), name, place),
    )


def _surges(rows: Any, name: str, place: _Place) -> tuple[Surge, ...]:
    if not isinstance(rows, list):
        raise place.error(name, "surge", f"expected [[{name}.surge]] tables")
    surges: list[Surge] = []
    for row in rows:
        if not isinstance(row, dict) or set(row) != set(SURGE_KEYS):
            raise place.error(name, "surge", f"expected exactly {', '.join(SURGE_KEYS)}")
        surge = Surge(*(_number(row[key], name, key, place, least=0) for key in SURGE_KEYS))
        if surge.to_s <= surge.from_s or (surges and surge.from_s < surges[-1].to_s):
            raise place.error(name, "surge", "expected from_s < to_s, in order, not overlapping")
        surges.append(surge)
    return tuple(surges)


def _number(value: Any, name: str, key: str, place: _Place, *, least: float) -> float:
    # written so that nan is refused too
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (least <= value <= 1_000_000)
    ):
        raise place.error(name, key, f"expected a number of {least:g} or more, got {value!r}")
    return float(value)


def _with_line(path: Path, error: tomllib.TOMLDecodeError) -> str:
    found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    if not found:
        return f"{path}: is no valid TOML: {error}"
    message = str(error).replace(found[0], "").strip()
    return f"{path}:{found[1]}: column {found[2]}: {message}; expected valid TOML"
