"""bank: the external payment processor. Owns authorizations and an append-only ledger. Calls no service.

It is outside the shop: it honours idempotency keys whatever the shop's settings are, and a request
under a new key is a new request, even a second capture. Its ledger is the second record of every payment.
"""
