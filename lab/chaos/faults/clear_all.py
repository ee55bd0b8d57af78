"""Removes every fault of a lab at once: supervisor, fault proxy and instances are called in parallel."""

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
class Cleared:
    """`took_s` until the last fault was removed; `problems` names what could not be removed."""

    took_s: float
    problems: list[str] = field(default_factory=list)


def clear_all(lab: RunningLab, give_up_s: float = GIVE_UP_S) -> Cleared:
    """Toxics, partitions, faults in services, paused processes, stopped processes and outages.

    In parallel, because a paused instance answers only after the supervisor has resumed it. An instance that is
    down has only the faults that are kept for its next start, whose file is deleted.
    """
    started = time.monotonic()
    deadline = started + give_up_s
    calls: list[Callable[[], None]] = [partial(_instance, lab, each) for each in lab.instances]
    if "control" in lab.state.addresses:
        calls.append(partial(_supervisor, lab))
    if lab.state.proxied:
        calls.append(partial(_proxy, lab))
    with ThreadPoolExecutor(max(1, len(calls))) as pool:
        found = pool.map(lambda call: _until_done(call, deadline), calls)
        problems = [problem for problem in found if problem]
    return Cleared(round(time.monotonic() - started, 3), problems)


def _until_done(call: Callable[[], None], deadline: float) -> str:
    """Returns "" or the last problem at the deadline."""
    while True:
        try:
            call()
        except NoReplyError as error:
            if time.monotonic() > deadline:
                return str(error)
            time.sleep(RETRY_S)
        else:
            return ""


def _proxy(lab: RunningLab) -> None:
    _send("POST", lab.state.addresses["proxy"] + "/reset", lab.state.proxy_token)


def _supervisor(lab: RunningLab) -> None:
    url = lab.state.addresses["control"]
    _send("DELETE", f"{url}/faults", lab.token)
    # starts also what was stopped or paused by hand; it answers when all is ready, which takes too long to wait
    threading.Thread(target=_heal, args=(f"{url}/heal", lab.token), daemon=True).start()


def _heal(url: str, token: str) -> None:
    with suppress(NoReplyError):
        exchange("POST", url, body={}, token=token)


def _instance(lab: RunningLab, instance: Instance) -> None:
    try:
        _send("DELETE", f"{instance.url}/_lab/faults", lab.token)
    except NoReplyError:
        kept = Path(lab.state.home) / "run" / "faults" / f"{instance.name}.json"
        kept.unlink(missing_ok=True)
        if pids.same(instance.pid, instance.identity):
            raise  # it is alive: retried until it answers


def _send(method: str, url: str, token: str) -> None:
    """Raises NoReplyError, also when the call is refused."""
    reply = exchange(method, url, token=token, timeout_s=ANSWER_S)
    if reply.status >= 400:
        raise NoReplyError(f"{method} {url}: {reply.status} {reply.body}")
