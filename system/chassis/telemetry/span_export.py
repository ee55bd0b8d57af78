"""Sends ended spans to a collector that may be slow or dead: in batches, from one thread, never waited for."""

import http.client
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
LAST_S = 2.5  # at the end, for what is still queued
HEADERS = {"Content-Type": "application/x-protobuf"}


class SpanExporter(SpanProcessor):
    """OTLP/HTTP protobuf to `endpoint`, e.g. `http://127.0.0.1:8176/v1/traces`.

    While the collector is away, batches wait; when `queue_max` spans wait, new ones are dropped. The
    counts `exported`, `dropped` (queue full) and `failed` (refused by the collector) are of spans.
    """

    def __init__(self, endpoint: str, *, queue_max: int = QUEUE_MAX) -> None:
        self.exported = self.dropped = self.failed = 0
        self._url = urlsplit(endpoint)
        self._queue_max = queue_max
        self._queue: deque[ReadableSpan] = deque()
        # waiting as bytes: encoded once however often they are sent, and nothing for the garbage collector
        self._packed: deque[tuple[int, bytes]] = deque()
        self._bytes = SpanEncoder()
        self._taken = self._gone = 0  # each written by one thread alone
        self._wake = threading.Event()
        self._stopping = False
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, name="span export", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        return self._taken - self._gone

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do before the span has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """In the event loop: one append, or one count."""
        if not span.context.trace_flags.sampled:
            return
        if self.queued >= self._queue_max:
            self.dropped += 1
            return
        self._taken += 1
        self._queue.append(span)
        if len(self._queue) == BATCH:
            self._wake.set()

    def shutdown(self) -> None:
        """Send what is left, for up to LAST_S."""
        self._stopping = True
        self._wake.set()
        self._thread.join(LAST_S)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Hurries the sending; says whether nothing was waiting."""
        self._wake.set()
        return not self.queued

    def _run(self) -> None:
        while True:
            self._wake.wait(PERIOD_S)
            stopping = self._stopping
            self._wake.clear()
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
        """Encode what waits; a batch that is not full only where nothing else waits to be sent."""
        queue = self._queue
        least = BATCH if self._packed and not stopping else 1
        while len(queue) >= least:
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            try:
                self._packed.append((len(batch), self._bytes.encode(batch)))
            except (
                ValueError,
                TypeError,
            ):  # UnicodeError is one: better without these than without all to come
                self._gone += len(batch)
                self.failed += len(batch)
            # what has just come may wait for company
            least = 1 if stopping else BATCH

    def _send_oldest(self) -> bool:
        """Whether the collector took or refused it; else it stays and is sent again."""
        count, body = self._packed[0]
        status = self._post(body)
        if status == 0 or status >= 500 or status == 429:
            return False
        self._packed.popleft()
        self._gone += count
        if status < 300:
            self.exported += count
        else:
            self.failed += count
        return True

    def _post(self, body: bytes) -> int:
        """The collector's status, 0 if there was none."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._url.netloc, timeout=ANSWER_S)
        try:
            self._connection.request("POST", self._url.path, body, HEADERS)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._close()
            return 0
        return answer.status

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None
