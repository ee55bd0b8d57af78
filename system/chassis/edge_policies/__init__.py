"""Resilience policies applied to the edges of one instance: configuration, switches, events, saturation."""
