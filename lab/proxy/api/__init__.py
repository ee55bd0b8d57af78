"""The proxy's HTTP API: Toxiproxy's routes, bodies and errors."""
