"""The path of the bytes: listening, connecting, forwarding in both directions, precise timers."""
