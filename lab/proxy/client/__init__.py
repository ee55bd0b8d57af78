"""Clients of the proxy's API."""
