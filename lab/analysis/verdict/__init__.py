"""The verdict of a run: its validity, its SLIs against their limits, the claim."""
