"""The recorder's HTTP API: routes.py lists all calls."""
