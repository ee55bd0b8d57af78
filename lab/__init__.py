"""The instrument: starts the shop, disturbs it, records it, judges it."""

__version__ = "0.1.0"
