"""Identifiers: UUIDv7 (RFC 9562), so that new rows are appended at the end of an index."""

import os
import time
from uuid import UUID


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of milliseconds, 12 of their fraction (method 3), 62 random ones."""
    ms, rest_ns = divmod(time.time_ns(), 1_000_000)
    fraction = rest_ns * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    return str(
        UUID(int=(ms & (1 << 48) - 1) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random)
    )
