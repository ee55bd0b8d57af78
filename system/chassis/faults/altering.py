"""An answer's body as a fault has changed it, sent over ASGI."""

from starlette.types import Message, Send

from chassis.faults.fault import Exchange


def altered(send: Send, exchange: Exchange) -> Send:
    """`send` that applies the exchange's changes to the whole body, if there are any when it comes.

    A body that got shorter is sent under its full length and not finished: the server closes the
    connection, and the client sees an answer that broke off.
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
            {
                "type": "http.response.body",
                "body": changed,
                "more_body": len(changed) < len(body),
            }
        )

    return through
