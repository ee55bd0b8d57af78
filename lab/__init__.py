"""The instrument: starts the shop, disturbs it, records it, judges it."""
