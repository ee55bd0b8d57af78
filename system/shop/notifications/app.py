"""HTTP edge of notifications: lists the mails of an order and their status."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel

from chassis.http.auth import CurrentUser
from chassis.http.state import from_state
from chassis.service import Service, create_app
from shop.notifications.domain import Kind, Status
from shop.notifications.handlers import handlers
from shop.notifications.sender import Sender
from shop.notifications.smtp import SmtpClient
from shop.notifications.store import MailStore


class NotificationView(BaseModel):
    id: str
    kind: Kind
    order_id: str
    status: Status
    created_at: datetime
    sent_at: datetime | None


class Notifications(BaseModel):
    items: list[NotificationView]


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    pool = await service.database()
    store = service.state.mails = MailStore(pool)
    smtp = SmtpClient(service.settings.require("smtp_url"))
    # random pauses spread the retries of several senders
    sender = Sender(store, smtp, service.clock, Random())

    async def send() -> None:
        try:
            await sender.run()
        finally:
            smtp.close()

    service.background("send mails", send)
    await service.consume(pool, handlers(service.clock.now, sender.stored))
    yield


app = create_app("notifications", start=start)


@app.get("/notifications")
async def list_notifications(
    order_id: UUID, user: CurrentUser, mails: Annotated[MailStore, from_state("mails")]
) -> Notifications:
    """The user's mails about an order."""
    found = await mails.of_order(str(order_id), user.id)
    return Notifications(items=[NotificationView(**mail) for mail in found])
