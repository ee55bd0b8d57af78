"""notifications: owns mails. Consumes UserRegistered, OrderConfirmed, OrderCancelled; sends by SMTP.

Publishes nothing.
"""
