"""users: owns accounts, passwords, sessions and the keys that sign user tokens.

Calls nobody. Publishes UserRegistered. Consumes nothing.
"""
