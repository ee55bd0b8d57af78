"""Evidence for each action of a method: faults that are judged by themselves, or an effect of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from lab.archive import ArchiveError, Run

NAME = "each action took effect"
FAULTS = ("add_fault", "kill_instance", "outage", "pause", "add_toxic", "partition", "blind")
# They undo what other actions did, which the judge of each fault and the search for residue check.
NEED_NONE = ("clear_faults", "heal")
EARLIER_S = (
    2.0  # a message that is handled this long after its publication did not get through at first
)
Step = dict[str, Any]


def action_effects(run: Run) -> tuple[str, bool, str]:
    """The name of the check, whether it holds, and the actions without an effect."""
    problems = [
        f"{step['activity'].get('name', '?')!r}: {problem}"
        for step in (run.journal or {}).get("run", [])
        if isinstance(step, dict) and isinstance(step.get("activity"), dict)
        if step["activity"].get("type") == "action" and step["activity"].get("provider")
        for problem in _problems(run, step)
    ]
    return NAME, not problems, "; ".join(problems)


def _problems(run: Run, step: Step) -> Iterator[str]:
    output = step.get("output")
    function = str(step["activity"]["provider"].get("func", ""))
    rows = output if isinstance(output, list) else [output]
    ids = {row["fault_id"] for row in rows if isinstance(row, dict) and "fault_id" in row}
    if ids:
        known = {name for (name,) in run.sql("SELECT fault_id FROM faults").fetchall()}
        if missing := sorted(ids - known):
            yield f"the faults {', '.join(missing)} are not recorded"
    elif function in FAULTS:
        yield "it hit nothing"
    elif function in SEEN:
        try:
            effects = SEEN[function](run, step)
        except ArchiveError as error:
            yield str(error)
        else:
            if effects is None:
                return
            seen, of = effects
            if not of or seen < of:
                yield f"the audit shows {seen} of {of} effects"
    elif function not in NEED_NONE:
        yield "no evidence is known for it; an action that returns rows of faults is judged by these"


def _cancelled(run: Run, step: Step) -> tuple[int, int]:
    """Orders that are cancelled in the end, of those that the action cancelled."""
    ids = [str(each) for each in step.get("output") or []]
    rows = run.with_state("orders.orders").sql(
        "SELECT count(DISTINCT order_id) FROM orders_orders"
        " WHERE status = 'cancelled' AND list_contains($ids, order_id::VARCHAR)",
        {"ids": ids},
    )
    return int(rows.fetchall()[0][0]), len(ids)


def _handled_again(run: Run, step: Step) -> tuple[int, int] | None:
    """Mails sent after the action for events published before it, of the messages that it published again.

    None if the recorder never saw a dead letter: there was nothing to publish again.
    """
    began_s = _epoch_s(step.get("start"))
    (dead,) = run.sql(
        "SELECT coalesce(max(value), 0) FROM metrics WHERE name = 'inbox_events_total' AND time_s < ?"
        " AND json_extract_string(labels, 'result') = 'dead'",
        [began_s],
    ).fetchall()[0]
    if not dead and not step.get("output"):
        return None
    rows = run.with_state("orders.outbox", "notifications.mails").sql(
        "SELECT count(*) FROM notifications_mails JOIN orders_outbox USING (event_id)"
        " WHERE epoch(sent_at) >= ? AND epoch(published_at) < ?",
        [began_s, began_s - EARLIER_S],
    )
    return int(rows.fetchall()[0][0]), int(step.get("output") or 0)


SEEN: dict[str, Callable[[Run, Step], tuple[int, int] | None]] = {
    "cancel_orders": _cancelled,
    "redrive": _handled_again,
}


def _epoch_s(text: object) -> float:
    """Raises ArchiveError."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        raise ArchiveError(f"the journal has no time of the action: {text!r}") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
