"""The outside payment processor. Owns authorizations and an append-only ledger; calls nobody.

Not the shop's: it honours idempotency keys whatever the shop's switches say, and does what it is
told under a new key, a second capture included. Its ledger is the second witness of every payment.
"""
