"""Reads resilience.toml: which policies protect which edge, and which of them a profile leaves out."""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from chassis.edge_policies import event_sink
from chassis.resilience.fallback import Fallback
from chassis.resilience.outlier import OutlierEjection
from chassis.resilience.profile import PROFILES, ProfileError, off_for
from chassis.resilience.shed import LoadShedder

RESILIENCE = Path(__file__).parents[2] / "resilience.toml"
OUTLIER, FALLBACK, SHED = OutlierEjection.kind, Fallback.kind, LoadShedder.kind
# kinds that do not run inside the chain; only the profile `full` includes them
BESIDE_CHAIN = frozenset({OUTLIER, FALLBACK, SHED})
P = TypeVar("P")


@cache
def read_tables(path: Path = RESILIENCE) -> Mapping[str, Mapping[str, Any]]:
    """The policy tables of the file, by edge. Raises ProfileError with the file and the line."""
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name}: {error}") from None


def policy_tables(edge: str) -> dict[str, Any]:
    """The tables of one edge by kind: the defaults of the file, overridden by the edge's own."""
    return {**read_tables().get("default", {}), **read_tables().get(edge, {})}


def build_beside_chain(edge: str, kind: str, maker: Callable[..., P], table: Any) -> P:
    """A policy that does not run inside the chain, built from its table. Raises ProfileError."""
    settings = table if isinstance(table, Mapping) else {}
    try:
        return maker(**settings, listener=event_sink.record)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"{edge}: {kind}: {error}") from None


def kinds_off(profile: str) -> frozenset[str]:
    """The kinds that a profile leaves out, in the chain and beside it. Raises ProfileError."""
    return off_for(profile) | (frozenset() if profile == "full" else BESIDE_CHAIN)


def kinds_off_by_header(lab_options: Mapping[str, str]) -> frozenset[str] | None:
    """The kinds that the lab header `resilience=PROFILE` leaves out; None without a known profile."""
    profile = lab_options.get("resilience", "")
    return kinds_off(profile) if profile in PROFILES else None
