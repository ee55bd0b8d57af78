"""Where the CPU of a lab's Python processes goes, by cause: from stacks that py-spy samples, with native frames.

A sample belongs to the first frame, from the innermost outwards, that names a cause: a socket write below asyncpg
is part of a statement, below aiohttp of a client hop. What no frame names is `unexplained`: the event loop itself,
garbage collection, imports.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

RATE_HZ = 100
UNEXPLAINED = "unexplained"
# the whole of these processes has one cause
SERVERS = {
    "postgres": "statements",
    "nats": "broker",
    "nginx": "server hops",
    "valkey": "cache",
    "mail": "mail",
    "recorder": "recorder",
    "supervisor": "background",
    "zygote": "background",
}
# a frame is `function (file:line)`; names of files that moved are there in both places
_CAUSES = (
    ("", r"uvicorn/(server|main|_compat)\.py|chassis/run\.py|asyncio/|zygote\.py"),  # below everything
    ("background", r"saturation\.py|event_sink|watch_(the_)?queue|watch_loop_lag|rotate_idle"),
    ("statements", r"asyncpg|protocol\.c:|pgproto|chassis/postgres/|chassis/(store|pool|database)\.py"),
    ("cache", r"valkey|redis|chassis/cache\.py"),
    ("mail", r"smtplib|aiosmtp|/email/|notifications/(letter|sender|smtp|post)\.py"),
    ("metrics", r"prometheus_client|telemetry/(histogram|metrics)\.py|chassis/(histogram|metrics)\.py"),
    ("spans and log lines", r"opentelemetry|/logging/|chassis/telemetry/|chassis/(telemetry|export)\.py"),
    ("broker", r"nats/|chassis/messaging/|chassis/registry\.py"),
    ("client hops", r"aiohttp|_http_(parser|writer)\.c|yarl|chassis/(http/)?(client|balancer)\.py"),
    ("client hops", r"chassis/resilience/|edge_policies/"),
    ("server hops", r"uvicorn|httptools|fastapi|starlette|pydantic|jwt|cryptography|chassis/http/"),
    ("server hops", r"chassis/(edge|problems|auth|context|idempotency)\.py"),
    ("shop code", r"shop/|chassis/faults/"),
)  # fmt: skip
# py-spy takes some waiting threads for active ones
_WAITS = re.compile(r"epoll_|lock_timed|SimpleQueue_get|do_futex|sem_clockwait|select_poll")
_RULES = [(cause, re.compile(pattern)) for cause, pattern in _CAUSES]


class Sampler:
    """py-spy on all processes that a lab's zygote forked, until `stop`."""

    def __init__(self, py_spy: str, zygote: int, seconds: float) -> None:
        self._file = Path(tempfile.mkdtemp(prefix="py-spy-")) / "stacks.txt"
        command = [py_spy, "record", "--native", "--subprocesses", "--format", "raw"]
        command += ["--rate", str(RATE_HZ), "--duration", str(max(1, round(seconds)))]
        command += ["--output", str(self._file), "--pid", str(zygote)]
        self._running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def samples(self, names: Mapping[int, str]) -> dict[str, Counter[str]]:
        """Samples by name of the process and cause, when py-spy has ended."""
        _, errors = self._running.communicate()
        if self._running.returncode or not self._file.exists():
            raise RuntimeError(f"py-spy: {errors.decode(errors='replace')[-300:]}")
        found: dict[str, Counter[str]] = {}
        for line in self._file.read_text(errors="replace").splitlines():
            stack, _, count = line.rpartition(" ")
            pid, frames = _process(stack.split(";"))
            if pid in names and not any(map(_WAITS.search, frames[-4:])):
                found.setdefault(names[pid], Counter())[cause_of(frames)] += int(count)
        return found


def cause_of(frames: list[str]) -> str:
    """The cause of a stack, whose outermost frame is first."""
    for frame in reversed(frames):
        for cause, rule in _RULES:
            if rule.search(frame):
                if not cause:
                    break
                return cause
    return UNEXPLAINED


def by_cause(
    spent_ms: Mapping[str, float], samples: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """The CPU of each process, distributed by the shares of its samples, summed by cause."""
    found: Counter[str] = Counter()
    for name, ms in spent_ms.items():
        shares = Counter(samples.get(name) or {UNEXPLAINED: 1})
        if name in SERVERS:
            shares = Counter({SERVERS[name]: 1})
        for cause, count in shares.items():
            found[cause] += ms * count / shares.total()  # type: ignore[assignment]
    return dict(found.most_common())


def _process(frames: list[str]) -> tuple[int, list[str]]:
    """The pid of a stack, and its frames: before them is `process 12:"command"` for each ancestor and itself."""
    pid, start = 0, 0
    for index, frame in enumerate(frames):
        if found := re.match(r"process (\d+)", frame):
            pid, start = int(found[1]), index + 1
    return pid, frames[start:]
