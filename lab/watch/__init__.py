"""Exports the stores' metrics to Prometheus (stores.py), and logs its alerts for a run's archive (alerts.py)."""
