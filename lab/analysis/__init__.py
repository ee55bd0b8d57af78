"""Pure functions of a run's archive: what happened to latency, breakers, orders and invariants."""
