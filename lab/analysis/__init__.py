"""Pure functions of a run's archive: latency, breakers, orders, traces, invariants, the verdict."""
