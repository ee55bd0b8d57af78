"""Sends ended spans to the collector in batches, from one thread. The event loop never waits for it."""

import re
import socket
import threading
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from chassis.telemetry.otlp_encoder import SpanEncoder

QUEUE_MAX = 8192
BATCH = 512
PERIOD_S = 0.5
ANSWER_S = 2.0
RETRY_S = 1.0
SHUTDOWN_S = 2.5  # to send the queued spans at the end
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class SpanExporter(SpanProcessor):
    """Exports by OTLP/HTTP protobuf to `endpoint`, e.g. `http://127.0.0.1:8176/v1/traces`, with a bearer `token`.

    While the collector is unreachable, batches wait. When `queue_max` spans wait, new ones are dropped.
    `exported`, `dropped` (queue full) and `failed` (rejected by the collector) count spans.
    """

    def __init__(self, endpoint: str, token: str = "", *, queue_max: int = QUEUE_MAX) -> None:
        self.exported = self.dropped = self.failed = 0
        url = urlsplit(endpoint)
        self._address = url.hostname or "", url.port or 80
        self._head = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n" + (
            f"Authorization: Bearer {token}\r\n" if token else ""
        )
        self._queue_max = queue_max
        self._queue: deque[ReadableSpan] = deque()
        # encoded batches: encoded once for all attempts, and without work for the garbage collector
        self._packed: deque[tuple[int, bytes]] = deque()
        self._encoder = SpanEncoder()
        self._accepted = self._finished = 0  # each written by one thread only
        self._first = threading.Event()  # there is a span: an idle process is not woken
        self._wake = threading.Event()  # do not wait for more
        self._stopping = False
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="span export", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """The number of spans waiting for export."""
        return self._accepted - self._finished

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only ended spans are exported."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span, or drop it if the queue is full. Runs in the event loop."""
        if not span.context.trace_flags.sampled:
            return
        if self.queued >= self._queue_max:
            self.dropped += 1
            return
        self._accepted += 1
        self._queue.append(span)
        if len(self._queue) == 1:
            self._first.set()
        elif len(self._queue) == BATCH:
            self._wake.set()

    def shutdown(self) -> None:
        """Send the queued spans, for up to SHUTDOWN_S."""
        self._stopping = True
        self._wake.set()
        self._first.set()
        self._thread.join(SHUTDOWN_S)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Start sending at once; returns whether nothing is queued."""
        self._wake.set()
        return not self.queued

    def _run(self) -> None:
        while True:
            if not (self._queue or self._packed):
                self._first.wait()
            self._wake.wait(PERIOD_S)
            self._first.clear()
            self._wake.clear()
            stopping = self._stopping  # read last: a later `shutdown` sets the events again
            self._pack(stopping)
            reached = True
            while reached and self._packed:
                reached = self._send_oldest()
            if stopping:
                self._close()
                return
            if not reached:
                self._wake.wait(RETRY_S)

    def _pack(self, stopping: bool) -> None:
        """Encode the queued spans. A partial batch is encoded only if no other batch waits."""
        queue = self._queue
        least = BATCH if self._packed and not stopping else 1
        while len(queue) >= least:
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            try:
                self._packed.append((len(batch), self._encoder.encode(batch)))
            except (ValueError, TypeError):  # lose this batch, not all later ones
                self._finished += len(batch)
                self.failed += len(batch)
            # newer spans wait until their batch is full
            least = 1 if stopping else BATCH

    def _send_oldest(self) -> bool:
        """Send the oldest batch. False if the collector did not answer: it is sent again."""
        count, body = self._packed[0]
        status = self._post(body)
        if status == 0 or status >= 500 or status == 429:
            return False
        self._packed.popleft()
        self._finished += count
        if status < 300:
            self.exported += count
        else:
            self.failed += count
        return True

    def _post(self, body: bytes) -> int:
        """The status of the collector's answer, 0 without an answer.

        Without `http.client`, which takes as long as the encoding of ten spans.
        """
        head = f"{self._head}Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            if self._connection is None:
                self._connection = socket.create_connection(self._address, ANSWER_S)
            self._connection.sendall(head.encode() + body)
            return self._read_status(self._connection)
        except (OSError, ValueError):
            self._close()
            return 0

    def _read_status(self, connection: socket.socket) -> int:
        """Read a whole answer. Raises OSError or ValueError if there is none."""
        answer, end = b"", -1
        while end < 0:
            answer += _receive(connection)
            end = answer.find(b"\r\n\r\n")
        length = LENGTH.search(answer, 0, end)
        if length is None or b"\r\nconnection: close" in answer[:end].lower():
            self._close()  # the next answer needs a connection on which this one has an end
        else:
            left = end + 4 + int(length[1]) - len(answer)
            while left > 0:
                left -= len(_receive(connection))
        return int(answer[9:12])

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the collector closed the connection")
    return data
