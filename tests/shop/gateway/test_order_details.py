"""An order's page that is refused leaves nothing behind in the log."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

from chassis.http.client import ServiceClient
from shop.gateway.order_details import OrderDetails


class Upstream:
    """Answers with a status after the other parts have started, or never."""

    def __init__(self, status: int | None) -> None:
        self.status = status

    async def get(self, *_: Any, **__: Any) -> Any:
        if self.status is None:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return SimpleNamespace(
            status=self.status, body={"title": "x"}, content=b"{}", headers={}, stale_s=None
        )


async def test_the_cancelled_parts_of_a_refused_order_are_not_logged_as_errors() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    orders, silent = (cast(ServiceClient, Upstream(status)) for status in (404, None))

    answer = await OrderDetails(orders, silent, silent, 1.0).read("o1", "token")
    assert answer.status_code == 404
    for _ in range(3):
        await asyncio.sleep(0)  # the cancelled parts end
    gc.collect()
    assert logged == []
