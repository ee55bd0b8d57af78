"""users: owns accounts, passwords, sessions and the keys that sign user tokens.

Calls no service. Publishes UserRegistered. Consumes no event.
"""
