"""notifications: owns mails. Consumes UserRegistered, OrderConfirmed, OrderCancelled.

A mail is stored in the transaction that consumes the event, and is sent afterwards. No mail is lost
while the mail server is down, and a mail that is sent twice has the same Message-ID.
"""
