"""HTTP edge of notifications: which mails an order has. No rule lives here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from pydantic import BaseModel

from chassis.auth import Caller, User
from chassis.service import Service, create_app
from shop.notifications.handlers import handlers
from shop.notifications.sender import Sender
from shop.notifications.store import MailStore


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    pool = await service.database()
    store = service.state.mails = MailStore(pool)
    sender = Sender(store, service.settings.require("smtp_url"), service.clock.now)
    service.background("mail sender", sender.run)
    await service.consume(pool, handlers(store, sender))
    yield


app = create_app("notifications", start=start)


class NotificationView(BaseModel):
    """`status`: pending, sent or failed."""

    id: str
    kind: str
    order_id: str
    status: str
    created_at: datetime
    sent_at: datetime | None


class Notifications(BaseModel):
    items: list[NotificationView]


async def _mails(request: Request) -> MailStore:
    store: MailStore = request.app.state.mails
    return store


@app.get("/notifications")
async def list_notifications(
    order_id: UUID, caller: Caller, mails: Annotated[MailStore, Depends(_mails)]
) -> Notifications:
    """A user sees the mails of their own orders, a service all of an order's."""
    owner = caller.id if isinstance(caller, User) else None
    found = await mails.of_order(str(order_id), owner)
    items = [NotificationView.model_validate(each, from_attributes=True) for each in found]
    return Notifications(items=items)
