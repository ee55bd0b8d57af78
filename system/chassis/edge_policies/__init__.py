"""Applies the resilience policies to the edges of one instance: configuration, switches, events, saturation."""
