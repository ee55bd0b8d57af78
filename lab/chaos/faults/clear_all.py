"""Every fault off at once, whoever holds it: supervisor, fault proxy and instances, asked side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lab.chaos.running_lab import Instance, RunningLab
from lab.http_client import NoReplyError, exchange
from lab.runtimes.posix import pids

ANSWER_S = 0.8
RETRY_S = 0.05
GIVE_UP_S = 5.0


@dataclass(frozen=True)
class Disarmed:
    """`took_s` until the last holder had let go; `problems` names those that did not."""

    took_s: float
    problems: list[str] = field(default_factory=list)


def disarm(lab: RunningLab, give_up_s: float = GIVE_UP_S) -> Disarmed:
    """Toxics, partitions, faults in services, paused, stopped and taken away processes.

    Nobody waits for another: a paused instance answers as soon as the supervisor has let it go on. One
    that is down holds no fault but those kept for its next start, whose file is taken away.
    """
    started = time.monotonic()
    deadline = started + give_up_s
    orders: list[Callable[[], None]] = [partial(_instance, lab, each) for each in lab.instances]
    if "control" in lab.state.addresses:
        orders.append(partial(_supervisor, lab))
    if lab.state.proxied:
        orders.append(partial(_proxy, lab))
    with ThreadPoolExecutor(max(1, len(orders))) as pool:
        found = pool.map(lambda order: _until_done(order, deadline), orders)
        problems = [problem for problem in found if problem]
    return Disarmed(round(time.monotonic() - started, 3), problems)


def _until_done(order: Callable[[], None], deadline: float) -> str:
    """Empty, or what was still wrong at the deadline."""
    while True:
        try:
            order()
        except NoReplyError as error:
            if time.monotonic() > deadline:
                return str(error)
            time.sleep(RETRY_S)
        else:
            return ""


def _proxy(lab: RunningLab) -> None:
    _say("POST", lab.state.addresses["proxy"] + "/reset", lab.state.proxy_token)


def _supervisor(lab: RunningLab) -> None:
    url = lab.state.addresses["control"]
    _say("DELETE", f"{url}/faults", lab.token)
    # what is down or paused by hand starts too; it answers when all is ready, and nobody waits for that
    threading.Thread(target=_heal, args=(f"{url}/heal", lab.token), daemon=True).start()


def _heal(url: str, token: str) -> None:
    with suppress(NoReplyError):
        exchange("POST", url, body={}, token=token)


def _instance(lab: RunningLab, instance: Instance) -> None:
    try:
        _say("DELETE", f"{instance.url}/_lab/faults", lab.token)
    except NoReplyError:
        kept = Path(lab.state.home) / "run" / "faults" / f"{instance.name}.json"
        kept.unlink(missing_ok=True)
        if pids.same(instance.pid, instance.identity):
            raise  # alive: it must be asked until it answers


def _say(method: str, url: str, token: str) -> None:
    """Raises NoReplyError, also for a refusal."""
    reply = exchange(method, url, token=token, timeout_s=ANSWER_S)
    if reply.status >= 400:
        raise NoReplyError(f"{method} {url}: {reply.status} {reply.body}")
