"""Traces, metrics and logs of a service."""
