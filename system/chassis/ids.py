"""Identifiers: UUIDv7 (RFC 9562), so that new rows land at the end of an index."""

import os
import time
from uuid import UUID


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of milliseconds, then 74 random bits."""
    ms = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    return str(UUID(int=value | 0b10 << 62 | random & (1 << 62) - 1))
