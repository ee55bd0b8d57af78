"""The bytes: listening, connecting, passing on in both directions, precise timers."""
