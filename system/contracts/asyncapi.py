"""The events as an AsyncAPI 3.0 document, generated from their classes."""

from typing import Any

from chassis.messaging.event import Event
from contracts.events import EVENTS


def document() -> dict[str, Any]:
    """One channel and one message per event. topology.toml lists publishers and consumers."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Breakwater shop events",
            "version": "1",
            "description": "The JetStream stream EVENTS delivers at least once, in order per aggregate.",
        },
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": f"events.{name}",
                "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            }
            for name in EVENTS
        },
        "operations": {
            f"receive{name}": {"action": "receive", "channel": {"$ref": f"#/channels/{name}"}}
            for name in EVENTS
        },
        "components": {"messages": {name: _message(event) for name, event in EVENTS.items()}},
    }


def _message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.__name__,
        "headers": {
            "type": "object",
            "properties": {
                "Nats-Msg-Id": {"type": "string", "description": "The event's id."},
                "traceparent": {
                    "type": "string",
                    "description": "The W3C trace context of the request that caused the event.",
                },
            },
        },
        "payload": event.model_json_schema(mode="serialization"),
    }
