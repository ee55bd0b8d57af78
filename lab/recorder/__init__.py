"""The recorder: takes spans, log records and metrics of the running lab and writes a run's raw tables.

__main__         the command line; server.py serves the API
api/             the HTTP API: routes, request bodies, answers
recorder.py      starts and stops a recording; routes spans to it and to Jaeger
intake/          reads log files, log records, nginx's log and /metrics pages
records/         writes a recording's tables, and its progress as metrics
trace_logs.py    finds the log lines of one trace; loki.py answers Grafana's queries for them
"""
