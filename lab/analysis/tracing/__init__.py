"""Traces: critical paths, and time by service and edge."""
