"""Watches the stores for Prometheus, and takes in its alerts, so that a run's logs have them."""
