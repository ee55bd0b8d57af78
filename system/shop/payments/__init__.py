"""Payments: one per order, made at the bank. Owns payments and the record of every call to the bank.

Calls the bank. Publishes nothing: orders asks, and is told in the answer.
`domain.py` has the rules, `payments.py` the way to ask a bank whose answer may never come.
"""
