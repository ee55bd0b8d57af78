"""Renders NATS' configuration: a user for each service, with the subjects that it needs by the topology."""

import json
from collections.abc import Iterator

from lab.edges import ADMINS, users_of
from lab.render.compose import STORE_PORTS
from lab.render.template import filled
from lab.topology import Service, Topology

FILE = "system/deploy/stores/nats.conf"
MONITORING_PORT = 8222
MONITORING_PATH = "NATS_MONITORING_PATH"
STREAMS = ("EVENTS", "DEAD")  # chassis.messaging.bus
BUCKETS = ("registry", "ended_sessions")  # chassis.registry, chassis.ended_sessions
API = "$JS.API"


def config(topology: Topology, *, listen: str, monitoring: str, store: str) -> str:
    """nats.conf; NATS takes the passwords and the monitoring's path from its environment.

    `listen` and `monitoring` are host:port, `store` is the folder of the streams.
    """
    admin, _ = ADMINS["nats"]
    users = (
        _user(name, variable, topology.services.get(name) if name != admin else None)
        for name, variable in users_of("nats", topology).items()
    )
    return filled(
        "nats.conf.template",
        listen=listen,
        monitoring=monitoring,
        monitoring_path=MONITORING_PATH,
        store=json.dumps(store, ensure_ascii=False),
        users="\n".join(users),
    )


def environment(passwords: dict[str, str], monitoring_path: str) -> dict[str, str]:
    """The variables of `config`. A password has quotes: NATS would read 1e3 as a number."""
    quoted = {variable: f'"{password}"' for variable, password in passwords.items()}
    return quoted | {MONITORING_PATH: monitoring_path}


def files(topology: Topology) -> dict[str, str]:
    """The configuration of docker-compose.yml. A lab in processes renders its own."""
    return {
        FILE: config(
            topology,
            listen=f"0.0.0.0:{STORE_PORTS['nats']}",
            monitoring=f"0.0.0.0:{MONITORING_PORT}",
            store="/data",
        )
    }


def _user(name: str, variable: str, service: Service | None) -> str:
    permissions = ""
    if service is not None:  # the lab's own user may do everything
        publish, subscribe = (json.dumps(list(f(service))) for f in (_published, _subscribed))
        permissions = (
            f", permissions: {{\n      publish: {publish}\n      subscribe: {subscribe}\n    }}"
        )
    return f"    {{user: {name}, password: ${variable}{permissions}}}"


def _subscribed(service: Service) -> Iterator[str]:
    yield f"_INBOX.{service.name}.>"  # answers to its own requests
    yield from (f"$KV.{bucket}.>" for bucket in BUCKETS)


def _published(service: Service) -> Iterator[str]:
    yield f"$KV.registry.{service.name}.*"
    yield from (f"$KV.{bucket}.>" for bucket in service.writes)
    yield from (f"events.{event}" for event in service.publishes)
    for bucket in BUCKETS:
        yield f"{API}.STREAM.CREATE.KV_{bucket}"
        yield f"{API}.DIRECT.GET.KV_{bucket}"
    if service.publishes or service.consumes:
        yield from (f"{API}.STREAM.CREATE.{stream}" for stream in STREAMS)
    if service.consumes:
        yield f"dead.{service.name}.*"
        yield f"{API}.CONSUMER.DURABLE.CREATE.EVENTS.{service.name}"
        # without DURABLE_CONSUMER the broker chooses the consumer's name
        yield f"{API}.CONSUMER.CREATE.EVENTS"
        yield from (f"{API}.CONSUMER.{call}.EVENTS.*" for call in ("INFO", "MSG.NEXT"))
        yield "$JS.ACK.EVENTS.*.>"
