"""Sends an answer's body as a fault has changed it, over ASGI."""

from starlette.types import Message, Send

from chassis.faults.fault import Exchange


def altered(send: Send, exchange: Exchange) -> Send:
    """A `send` that applies the exchange's changes, if any, to the whole body.

    A body that became shorter is sent under its full length and not finished: the server closes the connection,
    and the client sees an incomplete answer.
    """
    held: list[Message] = []

    async def through(message: Message) -> None:
        if not exchange.changes:
            await send(message)
            return
        held.append(message)
        if message["type"] != "http.response.body" or message.get("more_body"):
            return
        body = b"".join(each.get("body", b"") for each in held)
        changed = exchange.changed(body)
        await send(held[0])
        await send(
            {"type": "http.response.body", "body": changed, "more_body": len(changed) < len(body)}
        )

    return through
