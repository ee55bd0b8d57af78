"""The settings of one instance, read once from the environment. An error names the setting."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chassis.resilience.profile import PROFILES


class SettingError(ValueError):
    """A setting is missing or invalid. The message names it and the expected value."""


@dataclass(frozen=True)
class Settings:
    """The settings of one instance. Without a `lab_token` the instance is not in a lab."""

    service: str
    instance: str
    port: int
    service_secret: str = field(repr=False)
    host: str = "127.0.0.1"
    advertise: str = ""
    database_url: str = field(default="", repr=False)
    valkey_url: str = field(default="", repr=False)
    nats_url: str = field(default="", repr=False)
    smtp_url: str = ""
    otlp_endpoint: str = ""
    otlp_token: str = field(default="", repr=False)
    edges: Mapping[str, str] = field(default_factory=dict)
    lab_token: str = field(default="", repr=False)
    resilience: str = "full"
    outbox: bool = True
    idempotency: bool = True
    stock_guard: bool = True
    arm: str = "control"
    version: str = "1"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def lab(self) -> bool:
        """Whether the instance runs in a lab, so that the lab's switches and routes work."""
        return bool(self.lab_token)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """The settings in `env`. Raises SettingError."""
        service = _required(env, "SERVICE")
        port = _port(_required(env, "PORT"))
        host = env.get("HOST", "127.0.0.1")
        lab_token = env.get("LAB_TOKEN", "")
        return cls(
            service=service,
            instance=env.get("INSTANCE") or f"{service}-1",
            port=port,
            service_secret=_required(env, "SERVICE_SECRET"),
            host=host,
            advertise=env.get("ADVERTISE") or f"{host}:{port}",
            database_url=env.get("DATABASE_URL", ""),
            valkey_url=env.get("VALKEY_URL", ""),
            nats_url=env.get("NATS_URL", ""),
            smtp_url=env.get("SMTP_URL", ""),
            otlp_endpoint=env.get("OTLP_ENDPOINT", ""),
            otlp_token=env.get("OTLP_TOKEN", ""),
            edges=_edges(env.get("EDGES", "")),
            lab_token=lab_token,
            resilience=_one_of(env, "RESILIENCE", PROFILES, "full"),
            outbox=_guard(env, "OUTBOX", lab_token),
            idempotency=_guard(env, "IDEMPOTENCY", lab_token),
            stock_guard=_guard(env, "STOCK_GUARD", lab_token),
            arm=env.get("ARM", "control"),
            version=env.get("VERSION", "1"),
            env=dict(env),
        )

    def require(self, name: str) -> str:
        """A setting that this service requires, e.g. `database_url`. Raises SettingError if it is missing."""
        value = str(getattr(self, name))
        if not value:
            raise SettingError(f"Missing setting {name.upper()}: {self.service} requires it")
        return value

    def switch(self, name: str) -> bool:
        """Whether a protection is on; `off` is for a lab that shows what fails without it. Raises SettingError."""
        return _guard(self.env, name, self.lab_token)

    def number(self, name: str, default: float) -> float:
        """A numeric setting of one service, e.g. `RESERVATION_TTL_S`. Raises SettingError."""
        text = self.env.get(name, "")
        try:
            number = float(text) if text else default
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SettingError(f"{name}: expected a number, got {text!r}")
        return number


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingError(f"Missing setting {name}: docs/architecture.md lists all settings")
    return value


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise SettingError(f"PORT: expected a number from 1 to 65535, got {text!r}")
    return int(text)


def _edges(text: str) -> dict[str, str]:
    """`payments-1=127.0.0.1:8395,...`: addresses that replace those of the registry."""
    edges: dict[str, str] = {}
    for entry in text.split(",") if text else ():
        name, equals, address = entry.partition("=")
        if not (name and equals and address.rpartition(":")[2].isdigit()):
            raise SettingError(f"EDGES: expected NAME=host:port[,...], got {entry!r}")
        edges[name] = address
    return edges


def _one_of(env: Mapping[str, str], name: str, allowed: Collection[str], default: str) -> str:
    value = env.get(name) or default
    if value not in allowed:
        raise SettingError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    return value


def _guard(env: Mapping[str, str], name: str, lab_token: str) -> bool:
    """The switch of a protection: `off` is valid in a lab only."""
    if _one_of(env, name, ("on", "off"), "on") == "on":
        return True
    if not lab_token:
        raise SettingError(f"{name}=off is valid in a lab only: set LAB_TOKEN, or set {name}=on")
    return False
