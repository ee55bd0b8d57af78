"""Mails about what happened. Owns mails; consumes UserRegistered, OrderConfirmed, OrderCancelled.

A mail is written down in the transaction that takes the event, and sent afterwards: nothing is lost
while the mail server is down, and a mail that is sent twice carries the same Message-ID.
"""
