"""How a synthetic archive shows exchanges and scrapes, and what a working fault changes of them."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.analysis.fault_evidence.world import BEFORE_S, END_S, START_S, TIMEOUT_S, Case, Op

Change = Callable[[Case, Op], None]
Shape = Callable[[Case, Change], None]


# -- what the archive has of each point -------------------------------------------------------


def calls_in(case: Case, change: Change) -> None:
    for op in case.exchanges(150, 0.01, lambda op: change(case, op)):
        _call(case, "caller", case.service, op)


def calls_out(case: Case, change: Change) -> None:
    for op in case.exchanges(150, 0.01, lambda op: change(case, op)):
        _call(case, case.service, "callee", op)


def _call(case: Case, caller: str, callee: str, op: Op) -> None:
    peer = {"breakwater.peer.instance": f"{callee}-1"}
    name = {"name": "POST /things/{id}", "http_route": "/things/{id}"}
    span_id = case.world.span(caller, "client", op=op, peer=callee, attributes=peer, **name)
    for _ in range(op.arrives):
        path = {"url.path": "/things/7"}
        case.world.span(callee, "server", op=op, parent_span_id=span_id, attributes=path, **name)


def database(case: Case, change: Change) -> None:
    for op in case.exchanges(300, 0.002, lambda op: change(case, op)):
        op.status = None
        case.world.span(case.service, "client", "postgres", op, peer="postgres")


def cache(case: Case, change: Change) -> None:
    for op in case.exchanges(300, 0.001, lambda op: change(case, op)):
        case.world.span(case.service, "client", "GET", op, peer="valkey")


def published(case: Case, change: Change) -> None:
    for op in case.exchanges(120, 0.005, lambda op: change(case, op)):
        _event(case, case.service, f"{case.service}-consumer", op)


def consumed(case: Case, change: Change) -> None:
    case.world.states[f"{case.service}.inbox"] = []
    for op in case.exchanges(120, 0.005, lambda op: change(case, op)):
        handled = bool(op.arrives)
        op.arrives = max(1, op.arrives)
        event_id = _event(case, f"{case.service}-producer", case.service, op)
        if handled:
            case.world.states[f"{case.service}.inbox"].append({"event_id": event_id})


def _event(case: Case, producer: str, consumer: str, op: Op) -> str:
    event_id = f"e{len(case.world.rows['spans'])}"
    name = {"messaging.message.id": event_id}
    parent = case.world.span(producer, "producer", "publish OrderConfirmed", op, attributes=name)
    for again in range(op.arrives):
        later = Op(op.start_s + 0.4 * again, op.seconds, None)
        case.world.span(
            consumer, "consumer", "process OrderConfirmed", later, parent_span_id=parent
        )
    return event_id


def heartbeats(case: Case, change: Change) -> None:
    for op in case.exchanges(30, 0.002, lambda op: change(case, op)):
        case.world.span(case.service, "client", "registry heartbeat", op, peer="nats")


def pages(case: Case, flushed: Callable[[Case, float, float], bool]) -> None:
    """GET requests of popular pages. One that is not in the cache reads the database."""
    loaded: dict[int, float] = {}
    for op in case.exchanges(600, 0.002, lambda op: None):
        page = int(case.rng.zipf(1.3)) % 300
        since_s = loaded.get(page)
        gone = since_s is None or op.start_s - since_s > 10.0
        if case.works and START_S <= op.start_s < END_S and since_s is not None:
            gone = gone or flushed(case, since_s, op.start_s)
        path = {"url.path": f"/products/{page}"}
        parent = case.world.span(case.service, "server", "GET /products/{id}", op, attributes=path)
        if gone:
            loaded[page] = op.start_s
            read = Op(op.start_s, 0.001, None)
            case.world.span(
                case.service, "client", "postgres", read, peer="postgres", parent_span_id=parent
            )


# -- what a working fault changes ---------------------------------------------------------------


def late(case: Case, op: Op) -> None:
    op.seconds += (case.number("latency_ms") + case.number("hold_ms")) / 1000
    if op.seconds > TIMEOUT_S and op.status is not None:
        op.seconds, op.failed, op.status, op.error = TIMEOUT_S, True, None, "TimedOut"


def hang(case: Case, op: Op) -> None:
    op.seconds = END_S - op.start_s
    if op.status is not None and op.seconds > TIMEOUT_S:
        op.seconds, op.failed, op.status, op.error = TIMEOUT_S, True, None, "TimedOut"


def hang_alone(case: Case, op: Op) -> None:
    op.seconds = END_S - op.start_s


def refuse(case: Case, op: Op) -> None:
    probability = case.number("fail_share") or case.number("error_share") or 1.0
    if case.rng.random() < probability:
        op.failed, op.status, op.error = True, int(case.number("status", 503)), "CallFailed"


def damage(case: Case, op: Op) -> None:
    # a flipped bit may leave the JSON readable
    if not case.number("flips") or case.rng.random() < 0.75:
        op.failed, op.status, op.error = True, None, "CallFailed"


def reject(case: Case, op: Op) -> None:
    op.status = 400


def fail(case: Case, op: Op) -> None:
    op.failed, op.status, op.error = True, 503, "CallFailed"


def twice(case: Case, op: Op) -> None:
    op.arrives = 2


def lose(case: Case, op: Op) -> None:
    op.arrives = 0


def nothing(case: Case, op: Op) -> None:
    """The effect is elsewhere."""


# -- kinds of the whole process -------------------------------------------------------------------


def dead_letters(shape: Shape) -> Callable[[Case], None]:
    def build(case: Case) -> None:
        shape(case, nothing)
        consumer = case.service + "-consumer" * (shape is published)
        for second in range(int(END_S - BEFORE_S) + 3):
            dead = 3.0 if case.works and BEFORE_S + second > START_S + 8 else 0.0
            case.world.gauge(consumer, "inbox_events_total", BEFORE_S + second, dead, result="dead")

    return build


def slow_start(case: Case) -> None:
    """The process is started again 2 s after the command."""
    ready_s = START_S + 3.5 + case.number("delay_s") * case.works
    for second in range(45):
        at_s = BEFORE_S + second
        if at_s < START_S + 2 or at_s >= ready_s:
            start_s = 50.0 if at_s < START_S + 2 else START_S + 2.1
            case.world.gauge(case.service, "process_start_time_seconds", at_s, start_s)


def log_lines(case: Case) -> None:
    for op in case.exchanges(200, 0.001, nothing_of(case)):
        if not (case.works and op.start_s >= START_S):
            row = {"time_s": op.start_s, "instance": f"{case.service}-1", "message": "line"}
            case.world.rows["logs"].append(row)


def nothing_of(case: Case) -> Callable[[Op], None]:
    return lambda op: nothing(case, op)


def clock(case: Case) -> None:
    for second in range(45):
        at_s = BEFORE_S + second + abs(float(case.rng.normal(0, 0.003)))
        on = case.works and START_S <= at_s < END_S
        skew_s = case.number("offset_ms") + case.number("drift_ms_per_s") * (at_s - START_S)
        case.world.gauge(
            case.service, "clock_seconds", at_s, BEFORE_S + second + on * skew_s / 1000
        )


def shaped(shape: Shape, change: Change) -> Callable[[Case], None]:
    return lambda case: shape(case, change)
