"""The proxy's HTTP API: Toxiproxy's routes, request bodies and metrics."""
