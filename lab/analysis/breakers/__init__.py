"""Circuit breakers: measured state changes, and closed forms to compare them with."""
