"""Saves the faults that outlive a restart, in one file per instance: `$LAB_FAULTS/<instance>.json`."""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chassis.faults.active import ActiveFault

log = logging.getLogger("chassis.faults")


class KeptFaults:
    """Rows are `{"spec", "commanded_s", "hits"}`; without rows there is no file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def possible(self) -> bool:
        return self.path is not None

    def write(self, faults: Iterable[ActiveFault]) -> None:
        """Saves these faults and no others. Raises OSError."""
        if self.path is None:
            return
        rows = [
            {"spec": each.spec(), "commanded_s": each.commanded_s, "hits": each.hits}
            for each in faults
        ]
        if not rows:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self.path.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(rows))
        written.replace(self.path)  # atomic: the process may end at any time

    def read(self) -> list[dict[str, Any]]:
        """The rows of an earlier process of this instance; an unreadable file is logged and deleted."""
        if self.path is None:
            return []
        try:
            rows = json.loads(self.path.read_bytes())
            return [row for row in rows if isinstance(row["spec"], dict) and row["commanded_s"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("%s cannot be read and is deleted: %s", self.path, error)
            self.path.unlink(missing_ok=True)
            return []
