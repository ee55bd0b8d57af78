"""The base of every service. It imports no service."""
