"""JSON values in the cache, for tests."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from chassis.cache import Cache


async def get_or_load(
    cache: Cache, key: str, ttl_s: float, load: Callable[[], Awaitable[Any]]
) -> Any:
    """The JSON value under `key`, loaded if it is missing."""

    async def load_json() -> bytes:
        return json.dumps(await load()).encode()

    return json.loads(await cache.bytes_or_load(key, ttl_s, load_json))
