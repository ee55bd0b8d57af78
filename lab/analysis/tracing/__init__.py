"""Where the time of requests went, from their spans."""
