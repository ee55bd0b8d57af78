"""The invariant of errors: no service meets an exception that its code does not expect."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, Rows, count, rows
from lab.archive import Run

NOT_THE_SHOP = ("lab", "nginx")
LEVELS = ("error", "critical", "fatal")
# The injector's own exceptions: a line that names one is the fault at work.
INJECTED = ("PoisonedError", "injected")


def no_unhandled_errors(run: Run) -> Finding:
    """No service wrote a log line of level ERROR or worse, or answered 500.

    An unreachable dependency and a refused call are expected: they are warnings, and answered with 502,
    503 or 504. A line that names an injected exception, and a 500 of a service whose fault aborts
    requests with 500, are explained by the fault.
    """
    services = f"service NOT IN {NOT_THE_SHOP}"
    violations = _lines(run, services) + _status_500(run, services)
    lines = count(run, f"SELECT count(*) FROM logs WHERE {services}")
    return Finding(
        lines + count(run, f"SELECT count(*) FROM spans WHERE kind = 'server' AND {services}"),
        violations,
    )


def _lines(run: Run, services: str) -> Rows:
    """One row for each message of a service, with its first line and trace."""
    explained = " OR ".join(f"contains(text, '{word}')" for word in INJECTED)
    return rows(
        run.sql(
            f"""
            WITH lines AS (
                SELECT *, coalesce(attributes->>'$.exception', '') AS exception,
                       concat(message, ' ', exception) AS text
                FROM logs WHERE {services} AND lower(level) IN {LEVELS}
            )
            SELECT service, any_value(instance) AS instance, count(*) AS lines, min(time_s) AS first_s,
                   arg_min(message, time_s) AS message, arg_min(trace_id, time_s) AS trace_id,
                   split_part(rtrim(arg_min(exception, time_s), chr(10)), chr(10), -1) AS exception,
                   'a log line of level error' AS problem
            FROM lines WHERE NOT ({explained})
            GROUP BY service, regexp_replace(message, '[0-9a-f-]{{8,}}|[0-9]+', '#', 'g') ORDER BY first_s
            """
        )
    )


def _status_500(run: Run, services: str) -> Rows:
    """The answers with 500, by the service that caused it: it called no service that answered 500."""
    aborted = _services_that_abort_with_500(run)
    return rows(
        run.sql(
            f"""
            WITH failed AS (
                SELECT * FROM spans WHERE kind = 'server' AND http_status = 500 AND {services}
            ), calls AS (
                SELECT c.trace_id, c.parent_span_id FROM failed f
                JOIN spans c ON c.span_id = f.parent_span_id AND c.trace_id = f.trace_id
            )
            SELECT service, any_value(instance) AS instance, count(*) AS answers,
                   http_method || ' ' || http_route AS route, arg_min(trace_id, start_ns) AS trace_id,
                   min(start_ns) / 1e9 AS first_s, 'answered 500' AS problem
            FROM failed f
            WHERE NOT list_contains(?, service)
              AND NOT EXISTS (FROM calls c WHERE c.trace_id = f.trace_id AND c.parent_span_id = f.span_id)
            GROUP BY service, route ORDER BY first_s
            """,
            [aborted],
        )
    )


def _services_that_abort_with_500(run: Run) -> list[str]:
    names = run.sql(
        """
        SELECT DISTINCT target FROM faults
        WHERE coalesce(attributes->>'$.status', CASE WHEN kind = 'abort' THEN '503' ELSE '500' END) = '500'
          AND kind IN ('abort', 'gray_failure', 'bad_release')
        """
    ).fetchall()
    return [target.rpartition("-")[0] if target[-1:].isdigit() else target for (target,) in names]
