"""The lab on disk: `.lab/<port_base>/` with its `lab.json`, and the default lab of commands."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.files import write_private
from lab.topology import PROJECT

PORT_BASE = 8080
FORMAT = 1


class StateError(Exception):
    """The lab's folder or file cannot be used. The message has advice."""

    exit_code = 1


class PortBaseError(StateError):
    """The port base is no number, or out of range."""

    exit_code = 2


class NoLabError(StateError):
    """No lab is up."""


def labs_folder(env: Mapping[str, str] = os.environ) -> Path:
    """`.lab` of the checkout, or `LAB_DIR`."""
    return Path(env.get("LAB_DIR") or PROJECT / ".lab").absolute()


def home_of(port_base: int) -> Path:
    """The folder of one lab."""
    return labs_folder() / str(port_base)


def chosen_port_base(option: int | None, env: Mapping[str, str] = os.environ) -> int:
    """`--port-base`, else LAB_PORT_BASE, else that of the newest running lab, else 8080."""
    if option is not None:
        return checked_port_base(str(option))
    if named := env.get("LAB_PORT_BASE"):
        return checked_port_base(named)
    try:
        current = (labs_folder() / "current").read_text().strip()
    except OSError:
        return PORT_BASE
    return int(current) if current.isdigit() else PORT_BASE


def checked_port_base(text: str) -> int:
    """A port base as typed. Raises PortBaseError."""
    if not text.isdigit() or not 1024 <= int(text) <= 64000:
        raise PortBaseError(f"port base {text!r}: expected a number from 1024 to 64000")
    return int(text)


@dataclass
class Entry:
    """One process of the lab. `identity` distinguishes it from a later process with the same pid."""

    name: str
    pid: int
    identity: str
    service: str = ""
    address: str = ""


@dataclass
class Lab:
    """The content of lab.json. `instances` are the services' processes, `servers` all others."""

    port_base: int
    home: str
    topology: str
    started_s: float
    token: str
    service_secret: str
    settings: dict[str, str]
    addresses: dict[str, str]
    stores: dict[str, dict[str, str]]  # by store and service, the URL with its password
    instances: list[Entry] = field(default_factory=list)
    servers: list[Entry] = field(default_factory=list)
    runtime: str = "processes"  # or compose
    project: str = ""  # the compose project
    images: dict[str, str] = field(default_factory=dict)  # by compose service
    proxy_token: str = ""  # the fault proxy's API requires it; empty: no token
    signals_token: str = ""  # the recorder takes spans and log records only with it
    format: int = FORMAT

    @property
    def path(self) -> Path:
        return Path(self.home) / "lab.json"

    @property
    def databases(self) -> dict[str, str]:
        """The URL of each service's database."""
        return self.stores.get("postgres", {})

    @property
    def proxied(self) -> bool:
        """Whether the fault proxy is on every edge."""
        return "proxy" in self.addresses

    @property
    def entries(self) -> list[Entry]:
        return [*self.servers, *self.instances]

    def save(self) -> None:
        write_private(self.path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, home: Path) -> "Lab":
        """The lab of `home`. Raises NoLabError without one, StateError if it cannot be read."""
        path = home / "lab.json"
        try:
            data: dict[str, Any] = json.loads(path.read_bytes())
            data["instances"] = [Entry(**each) for each in data["instances"]]
            data["servers"] = [Entry(**each) for each in data["servers"]]
            return cls(**data)
        except FileNotFoundError:
            raise NoLabError(
                f"no lab is up at port base {home.name}: start one with `lab up`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path} cannot be read: {error}") from None


def new_secret() -> str:
    """128 random bits, hexadecimal."""
    return secrets.token_hex(16)


def stored_secret(path: Path) -> str:
    """The secret in `path`, created if missing: for data that outlives one `lab up`, like a database cluster."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, new_secret() + "\n")
        return path.read_text().strip()
