"""The evidence that each fault took effect, one module a mechanism, and the judge of it."""
