"""Route parameters from a service's state."""

from typing import Any

from fastapi import Depends, Request


def from_state(name: str) -> Any:
    """`Annotated[Orders, from_state("orders")]`: the object that `start` stored as `service.state.orders`."""

    async def read(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(read)
