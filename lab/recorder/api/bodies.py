"""Reads request bodies within limits of memory."""

from __future__ import annotations

import zlib

from starlette.requests import ClientDisconnect, Request

from lab.recorder.errors import RequestError

BODY_BYTES_MAX = 8 * 1024 * 1024
UNPACKED_BYTES_MAX = 32 * 1024 * 1024
IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024


class BodyReader:
    """Keeps all bodies that are being read within IN_FLIGHT_BYTES_MAX together."""

    def __init__(self) -> None:
        self._in_flight_bytes = 0

    async def read(self, request: Request) -> bytes:
        """Returns the body; raises RequestError 400, 413 or 503."""
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                self._in_flight_bytes += len(chunk)
                if size > BODY_BYTES_MAX:
                    text = f"the body is larger than {BODY_BYTES_MAX} bytes: send less at once"
                    raise RequestError(413, text)
                if self._in_flight_bytes > IN_FLIGHT_BYTES_MAX:
                    raise RequestError(503, "too much data arrives at once: send it again later")
            return b"".join(chunks)
        except ClientDisconnect:
            raise RequestError(400, "the body ended early") from None
        finally:
            self._in_flight_bytes -= size


def unpack(body: bytes, encoding: str) -> bytes:
    """Decompresses a body with this content-encoding; raises RequestError 400, 413 or 415."""
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise RequestError(415, f"content-encoding {encoding} is unknown: send gzip or none")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error as error:
        raise RequestError(400, f"the body is no gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise RequestError(413, f"the body unpacks to more than {UNPACKED_BYTES_MAX} bytes")
    if not unpacker.eof:
        raise RequestError(400, "the gzip body ends early")
    return unpacked
