"""The running lab's `lab.json`: tokens, Jaeger's addresses, what to scrape or probe. Re-read when it changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lab.recorder.names import RECORDER


class Target(NamedTuple):
    """One instance and the address of its `/metrics`, or one server and its address."""

    service: str
    instance: str
    host: str
    port: int


class LabFile:
    """The content of the newest readable version of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = self._signals_token = ""
        self._jaeger = self._jaeger_page = ""
        self._targets: list[Target] = []
        self._servers: dict[str, Target] = {}

    @property
    def token(self) -> str:
        self._refresh()
        return self._token

    @property
    def signals_token(self) -> str:
        """The token that every span and log record must come with."""
        self._refresh()
        return self._signals_token

    @property
    def jaeger(self) -> str:
        """Jaeger's OTLP/HTTP address; "" if the lab has no Jaeger."""
        self._refresh()
        return self._jaeger

    @property
    def jaeger_page(self) -> str:
        """The address of Jaeger's page; "" if the lab has no Jaeger."""
        self._refresh()
        return self._jaeger_page

    @property
    def targets(self) -> list[Target]:
        self._refresh()
        return self._targets

    @property
    def servers(self) -> dict[str, Target]:
        """The servers and tools that listen, by name, without the recorder."""
        self._refresh()
        return self._servers

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            lab = json.loads(self._path.read_bytes())
            self._token = str(lab.get("token", ""))
            self._signals_token = str(lab.get("signals_token", ""))
            self._jaeger = str(lab.get("addresses", {}).get("jaeger_otlp", ""))
            self._jaeger_page = str(lab.get("addresses", {}).get("jaeger", ""))
            self._targets = [_target(each) for each in lab.get("instances", [])]
            listening = [each for each in lab.get("servers", []) if each.get("address")]
            self._servers = {
                each["name"]: _target(each) for each in listening if each["name"] != RECORDER
            }
            self._seen = seen
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # absent, or being written: keep the last content until the next call


def _target(instance: dict[str, str]) -> Target:
    address = str(instance["address"])
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"address {address!r} of {instance['name']} is not host:port")
    return Target(instance.get("service", ""), instance["name"], parts.hostname, parts.port)
