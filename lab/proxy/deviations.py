"""The deliberate differences from Toxiproxy: one switch each, all off under `--strict`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviations:
    """docs/proxy.md explains each field and its reason; a test checks that."""

    half_close: bool = True
    resets_travel: bool = True
    resets_reach_open_connections: bool = True
    unreachable_upstream_resets: bool = True
    timeout_counts_from_its_start: bool = True
    attributes_are_checked: bool = True
    unknown_fields_are_refused: bool = True
    loopback_only: bool = True
    failed_update_changes_nothing: bool = True
    json_errors: bool = True
    extras: bool = True


OURS = Deviations()
STRICT = Deviations(**dict.fromkeys(Deviations.__dataclass_fields__, False))
